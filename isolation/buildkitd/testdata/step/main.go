// SPDX-License-Identifier: Apache-2.0

// Command step is what the tests run in containers: a static program that
// needs nothing of its image.
package main

import (
	"fmt"
	"net"
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
	case "dial": // ADDRESS
		conn, err := net.DialTimeout("tcp", args[0], 5*time.Second)
		if err != nil {
			fail(err)
		}
		conn.Close()
		fmt.Println("connected")
	}
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
	fmt.Printf("umask: %o\n", syscall.Umask(0o022))
	for kind, name := range []string{syscall.RLIMIT_CORE: "core", syscall.RLIMIT_NOFILE: "nofile"} {
		if name == "" {
			continue
		}
		// Go raises its own soft limit; the hard one is as it was given.
		var l syscall.Rlimit
		_ = syscall.Getrlimit(kind, &l)
		fmt.Printf("limit: %s %d\n", name, l.Max)
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
