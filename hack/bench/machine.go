// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// byHand is the first process of the machine that is booted by hand: it does
// the least with which a command can run in a folder of the host.
const byHand = `#!/busybox sh
/busybox mount -t proc proc /proc
for m in virtio_ring virtio virtio_mmio fuse virtiofs; do /busybox insmod /$m.ko; done
/busybox mount -t virtiofs root /root
/busybox chroot /root /bin/sh -c 'echo runs' >/dev/console
/busybox reboot -f
`

// machine compares a step in a virtual machine with the same kernel booted by
// hand, as its makers' manuals have it, for a command in a shared folder.
func (b *bench) machine(ctx context.Context) error {
	kernels, err := filepath.Glob("build/kernel/boot/vmlinuz-*")
	if err != nil || len(kernels) == 0 || !b.canRunContainers() {
		fmt.Println("  virtual machines: not measured: no kernel in build/kernel; run make setup")
		return nil
	}
	kernel, err := filepath.Abs(kernels[len(kernels)-1])
	if err != nil {
		return err
	}
	project, done, err := b.folder("machine")
	defer done()
	if err != nil {
		return err
	}
	if err := b.writeProject(project); err != nil {
		return err
	}
	if _, err := b.do(ctx, project, b.attest, "config", "set", "vm.kernel", kernel); err != nil {
		return err
	}
	hand, err := b.prepareByHand(ctx, kernel)
	if err != nil {
		return err
	}
	b.engine = true
	// The engine is started, and the image unpacked, before the first turn.
	run := []string{b.attest, "run", "--no-cache", "--isolation", "vm", "--progress", "quiet"}
	if _, err := b.do(ctx, project, run...); err != nil {
		return err
	}
	whole := b.running(ctx, "attest run, from start to receipt", project, run...)
	bare := &series{name: "the same kernel booted by hand", measure: func() (time.Duration, error) { return hand.boot(ctx) }}
	if err := takeTurns(b.slow, whole, bare); err != nil {
		return err
	}
	table("One step in a virtual machine, 5 files in and 5 out", whole, bare)
	b.below("a step in a virtual machine, beyond a boot by hand", (whole.median() - bare.median()).Seconds(), 1, "s")
	return nil
}

// handmade is what a boot by hand needs.
type handmade struct{ kernel, initrd, root, socket string }

func (b *bench) prepareByHand(ctx context.Context, kernel string) (*handmade, error) {
	h := &handmade{
		kernel: kernel, initrd: filepath.Join(b.dir, "initrd"),
		root: filepath.Join(b.dir, "by-hand"), socket: filepath.Join(b.dir, "fs.sock"),
	}
	disk := filepath.Join(b.dir, "disk")
	script := fmt.Sprintf(`set -e
		busybox=$(command -v busybox)
		mkdir -p %[1]q/proc %[1]q/root %[1]q/dev %[2]q/bin
		cp "$busybox" %[1]q/busybox; cp "$busybox" %[2]q/bin/sh
		for m in virtio_ring virtio virtio_mmio fuse virtiofs; do find %[3]q -name $m.ko -exec cp {} %[1]q \; ; done
		mknod %[1]q/dev/console c 5 1
		cat >%[1]q/init; chmod +x %[1]q/init
		cd %[1]q; find . | busybox cpio -o -H newc >%[4]q 2>/dev/null`,
		disk, h.root, filepath.Join(filepath.Dir(filepath.Dir(kernel)), "lib/modules"), h.initrd)
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	cmd.Stdin = bytes.NewReader([]byte(byHand))
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("preparing a boot by hand: %w\n%s", err, out)
	}
	return h, nil
}

// clockKHz is how fast this host's clock counter runs, by what the system says.
// A kernel that has to find out by itself hangs when the host is busy.
func clockKHz() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "0"
	}
	_, rest, _ := strings.Cut(string(text), "cpu MHz\t\t: ")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Replace(line, ".", "", 1)
}

// boot boots the machine and waits for its end.
func (h *handmade) boot(ctx context.Context) (time.Duration, error) {
	programs := []string{"/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"}
	i := slices.IndexFunc(programs, func(p string) bool { _, err := os.Stat(p); return err == nil })
	if i < 0 {
		return 0, fmt.Errorf("no virtiofsd among %q", programs)
	}
	began := time.Now()
	fs := exec.CommandContext(ctx, programs[i], "--socket-path="+h.socket, "-o", "source="+h.root, "-o", "cache=auto")
	if err := fs.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = fs.Process.Kill(); _ = fs.Wait() }()
	for end := began.Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(h.socket); err == nil {
			break
		}
	}
	const memory = "2176M" // as much as a step's machine has
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-M", "microvm,acpi=on,rtc=on,memory-backend=mem", "-global", "virtio-mmio.force-legacy=false",
		"-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", memory,
		"-object", "memory-backend-memfd,id=mem,share=on,size="+memory,
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-chardev", "socket,id=fs,path="+h.socket, "-device", "vhost-user-fs-device,chardev=fs,tag=root",
		"-kernel", h.kernel, "-initrd", h.initrd, "-append", "console=ttyS0 quiet reboot=t panic=-1 tsc_early_khz="+clockKHz())
	out, err := qemu.CombinedOutput()
	if err == nil && !bytes.Contains(out, []byte("runs")) {
		err = fmt.Errorf("the command did not run")
	}
	if err != nil {
		return 0, fmt.Errorf("booting by hand: %w\n%s", err, out)
	}
	return time.Since(began), nil
}
