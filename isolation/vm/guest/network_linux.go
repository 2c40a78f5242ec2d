// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The addresses of qemu's user-mode network, the same on every host.
const (
	networkDevice = "eth0"
	deviceWait    = 5 * time.Second

	// NameServer answers inside for the name servers of the host.
	NameServer = "10.0.2.3"
	// Loopback answers inside for 127.0.0.1 of the network that qemu is in.
	Loopback = "10.0.2.2"
)

func address() [4]byte { return [4]byte{10, 0, 2, 15} }
func netmask() [4]byte { return [4]byte{255, 255, 255, 0} }
func gateway() [4]byte { return [4]byte{10, 0, 2, 2} }

// interfaceUp brings a network interface up.
func interfaceUp(name string) error {
	return withSocket(func(s int) error {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r); err != nil {
			return fmt.Errorf("bringing up interface %s: %w", name, err)
		}
		return nil
	})
}

// joinNetwork gives the machine its address in the network that the host made.
func joinNetwork() error {
	for end := time.Now().Add(deviceWait); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat("/sys/class/net/" + networkDevice); err == nil {
			break
		}
		if time.Now().After(end) {
			return errors.New("finding the network device: there is none")
		}
	}
	err := withSocket(func(s int) error {
		for _, set := range []struct {
			request uint
			address [4]byte
		}{{unix.SIOCSIFADDR, address()}, {unix.SIOCSIFNETMASK, netmask()}} {
			r, err := unix.NewIfreq(networkDevice)
			if err != nil {
				return err
			}
			if err := r.SetInet4Addr(set.address[:]); err != nil {
				return err
			}
			if err := unix.IoctlIfreq(s, set.request, r); err != nil {
				return fmt.Errorf("giving the network device its address: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := interfaceUp(networkDevice); err != nil {
		return err
	}
	return withSocket(addDefaultRoute)
}

// rtentry is the kernel's struct of that name, on 64-bit machines.
type rtentry struct {
	_                     uint64
	dst, gateway, genmask unix.RawSockaddrInet4
	flags                 uint16
	_                     [7]uint64 // padding, metric, device, mtu, window, irtt: none
}

func addDefaultRoute(s int) error {
	any4 := unix.RawSockaddrInet4{Family: unix.AF_INET}
	r := rtentry{dst: any4, gateway: any4, genmask: any4, flags: unix.RTF_UP | unix.RTF_GATEWAY}
	r.gateway.Addr = gateway()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCADDRT, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("adding the default route: %w", errno)
	}
	return nil
}

func withSocket(do func(s int) error) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	return do(s)
}
