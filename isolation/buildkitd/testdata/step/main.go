// SPDX-License-Identifier: Apache-2.0

// Command step is what the tests run in containers: a static program that
// needs nothing of its image.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		return
	}
	switch args := os.Args[2:]; os.Args[1] {
	case "sleep": // SECONDS [MARK]
		n, _ := strconv.Atoi(args[0])
		time.Sleep(time.Duration(n) * time.Second)
	case "fork": // a child that leaves its session, and its parent
		cmd := exec.Command("/bin/step", append([]string{"sleep"}, args...)...)
		if err := cmd.Start(); err != nil {
			fail(err)
		}
		time.Sleep(time.Hour)
	case "thrash": // BYTES of memory, beside a file that is read again and again
		n, _ := strconv.Atoi(args[0])
		thrash(n)
	case "look": // what a step can see without being given it
		look()
	case "lines": // N
		n, _ := strconv.Atoi(args[0])
		line := strings.Repeat("x", 99) + "\n"
		for range n {
			os.Stdout.WriteString(line)
		}
	case "exit": // CODE
		n, _ := strconv.Atoi(args[0])
		os.Exit(n)
	case "escape": // what a step must not be able to do, with what came of it
		escape()
	case "dial": // ADDRESS, the path of a socket, or @ and its abstract name
		kind := "tcp"
		if strings.HasPrefix(args[0], "/") || strings.HasPrefix(args[0], "@") {
			kind = "unix"
		}
		conn, err := net.DialTimeout(kind, args[0], 5*time.Second)
		if err != nil {
			fail(err)
		}
		conn.Close()
		fmt.Println("connected")
	case "fetch": // METHOD URL...
		for _, url := range args[1:] {
			fetch(args[0], url)
		}
	case "tunnel": // ADDRESS, by the proxy, for something that is not TLS
		tunnel(args[0])
	case "upgrade": // URL, to a websocket
		upgrade(args[0])
	case "ask": // HOST, of the machine's name servers
		addrs, err := net.LookupHost(args[0])
		if err != nil {
			fail(err)
		}
		fmt.Println("resolved to", addrs)
	case "send": // NETWORK ADDRESS, without knowing whether it arrives
		conn, err := net.Dial(args[0], args[1])
		if err == nil {
			_, err = conn.Write([]byte("hello"))
		}
		if err != nil {
			fail(err)
		}
		fmt.Println("sent")
	}
}

func tunnel(address string) {
	proxy, err := net.Dial("tcp", strings.TrimPrefix(os.Getenv("HTTP_PROXY"), "http://"))
	if err != nil {
		fail(err)
	}
	fmt.Fprintf(proxy, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\nGET /file HTTP/1.1\r\nHost: %s\r\n\r\n", address, address, address)
	_ = proxy.SetDeadline(time.Now().Add(5 * time.Second))
	answer, err := io.ReadAll(proxy)
	fmt.Printf("%q %v\n", answer, err)
	if !strings.Contains(string(answer), "content") {
		os.Exit(1)
	}
}

func upgrade(url string) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		fail(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		fail(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		fail(fmt.Errorf("the answer is %s", res.Status))
	}
}

// fetch prints what a server says, asked as the environment has it.
func fetch(method, url string) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		fail(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		fail(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		fail(err)
	}
	fmt.Printf("%d %s\n", res.StatusCode, body)
}

func look() {
	host, _ := os.Hostname()
	fmt.Println("hostname:", host)
	for _, kv := range os.Environ() {
		fmt.Println("env:", kv)
	}
	for _, path := range []string{"/etc/resolv.conf", "/etc/hosts", "/proc/self/cgroup"} {
		text, err := os.ReadFile(path)
		fmt.Printf("file: %s %q %v\n", path, text, err)
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 2 {
			fmt.Println("mount:", fields[2], fields[1])
		}
	}
	processes, _ := os.ReadDir("/proc")
	for _, e := range processes {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() {
			fmt.Println("process:", pid)
		}
	}
	fmt.Printf("umask: %o\n", syscall.Umask(0o022))
	for kind := range 16 { // RLIMIT_CPU to RLIMIT_RTTIME
		var l syscall.Rlimit
		_ = syscall.Getrlimit(kind, &l)
		if kind == syscall.RLIMIT_NOFILE {
			l.Cur = 0 // Go raises its own; the hard one is as it was given
		}
		fmt.Printf("limit: %d %d %d\n", kind, l.Cur, l.Max)
	}
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		fmt.Println("interface:", i.Name)
	}
	dev, _ := os.ReadDir("/dev")
	for _, e := range dev {
		fmt.Println("dev:", e.Name())
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
