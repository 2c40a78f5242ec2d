// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Exit codes by which a shell says that a command could not be started.
const (
	exitCannotRun = 126
	exitNotFound  = 127
)

// becomeStep is the second call: it becomes the command, or says why not.
func becomeStep() int {
	runtime.LockOSThread() // privileges are a thread's
	unix.CloseOnExec(orderFile)
	unix.CloseOnExec(statusFile)
	unix.CloseOnExec(seedFile)
	var o Order
	err := json.NewDecoder(os.NewFile(orderFile, "order")).Decode(&o)
	if err == nil {
		err = o.makeContainer()
	}
	if err == nil {
		err = o.Rights.confine()
	}
	if err == nil && o.Seed != "" {
		err = handOver(seedFile)
	}
	code := byte(0)
	if err == nil {
		code, err = o.exec()
	}
	_, _ = os.NewFile(statusFile, "status").Write(append([]byte{code}, err.Error()...))
	return 1
}

// exec becomes the command. It returns what a shell would exit with.
func (o Order) exec() (byte, error) {
	if err := os.Chdir(o.Dir); err != nil {
		return 0, fmt.Errorf("entering the working directory: %w", err)
	}
	if len(o.Args) == 0 {
		return 0, errors.New("there is no command")
	}
	path, err := o.find(o.Args[0])
	if err == nil {
		err = &os.PathError{Op: "exec", Path: path, Err: unix.Exec(path, o.Args, o.Env)}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return exitNotFound, err
	}
	return exitCannotRun, err
}

// find looks for a program as a shell does.
func (o Order) find(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	found := error(fs.ErrNotExist)
	for _, v := range o.Env {
		list, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			path := filepath.Join("/", o.Dir, dir, name)
			if filepath.IsAbs(dir) {
				path = filepath.Join(dir, name)
			}
			info, err := os.Stat(path)
			if err != nil || info.IsDir() {
				continue
			}
			if unix.Access(path, unix.X_OK) == nil {
				return path, nil
			}
			found = fs.ErrPermission
		}
	}
	return "", &os.PathError{Op: "exec", Path: name, Err: found}
}

// confine gives up what is not granted.
func (r Rights) confine() error {
	for _, l := range r.Rlimits {
		if err := unix.Setrlimit(l.Kind, &unix.Rlimit{Cur: l.Soft, Max: l.Hard}); err != nil {
			return fmt.Errorf("setting resource limit %d: %w", l.Kind, err)
		}
	}
	unix.Umask(r.Umask)
	if r.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("forbidding new privileges: %w", err)
		}
	}
	for c := range 64 {
		if r.Bounding&(1<<c) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	return r.changeUser()
}

// changeUser becomes the command's user, with no capability but the granted.
func (r Rights) changeUser() error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return err
	}
	// Of this thread alone, which is the one that becomes the command.
	groups := make([]uint32, 0, len(r.Groups)+1)
	for _, g := range r.Groups {
		groups = append(groups, uint32(g))
	}
	if err := setgroups(groups); err != nil {
		return fmt.Errorf("setting the groups: %w", err)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(r.GID), uintptr(r.GID), uintptr(r.GID)); errno != 0 {
		return fmt.Errorf("setting the group: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(r.UID), uintptr(r.UID), uintptr(r.UID)); errno != 0 {
		return fmt.Errorf("setting the user: %w", errno)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	half := func(shift int) unix.CapUserData {
		return unix.CapUserData{
			Effective:   uint32(r.Effective >> shift),
			Permitted:   uint32(r.Permitted >> shift),
			Inheritable: uint32(r.Inheritable >> shift),
		}
	}
	data := [2]unix.CapUserData{half(0), half(32)}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("setting the capabilities: %w", err)
	}
	for c := range 64 {
		if r.Ambient&(1<<c) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return fmt.Errorf("raising capability %d: %w", c, err)
		}
	}
	return nil
}
