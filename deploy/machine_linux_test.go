package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// machine is a system in which a test runs programs while the machine of the test stays
// as it is: this program starts again as root of new namespaces, and makes another folder
// the root. It uses pivot_root(2), because in a chroot(2) nobody may make the user
// namespaces that the sandbox of the plugins needs.
type machine struct {
	// Overlay is a folder for what programs change in a system that else is this one. If
	// it is empty, Root is the system.
	Overlay string
	Root    string
	// Writable are the only folders that can be written to, besides /tmp. If there is
	// none, everything can.
	Writable []string

	// User is who the program runs as, without capabilities and without a way to get any.
	User int
	// PrivateUsers shows the program no users but its own and root.
	PrivateUsers bool
	// HideProcesses shows the program no processes of other users.
	HideProcesses bool
	// Calls, if there are any, are the system calls that the program may make; Filter says
	// what else systemd restricts.
	Calls  []string
	Filter bool

	Args, Env []string
}

// stages say what this program is when it starts again.
const (
	stageVariable = "COUNTERSIGN_TEST_MACHINE_STAGE"
	specVariable  = "COUNTERSIGN_TEST_MACHINE"
)

func TestMain(m *testing.M) {
	stages := map[string]func(machine) error{"system": machine.system, "program": machine.program}
	if stage := stages[os.Getenv(stageVariable)]; stage != nil {
		runtime.LockOSThread() // what a thread gives up must be given up by the one that calls exec
		var spec machine
		err := json.Unmarshal([]byte(os.Getenv(specVariable)), &spec)
		if err == nil {
			err = stage(spec)
		}
		exited := &exec.ExitError{}
		if errors.As(err, &exited) {
			os.Exit(max(exited.ExitCode(), 1))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "machine:", err)
			os.Exit(99)
		}
		os.Exit(0)
	}
	syscall.Umask(0o022)
	os.Exit(m.Run())
}

// command runs a program in the machine, which ends with it and with the test.
func (m machine) command(t *testing.T) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a system to install into")
	}
	return m.stage(t.Context(), "system", syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	})
}

func (m machine) stage(ctx context.Context, name string, attr syscall.SysProcAttr) *exec.Cmd {
	spec, err := json.Marshal(m)
	if err != nil {
		panic(err) // it has nothing but texts and numbers
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = []string{stageVariable + "=" + name, specVariable + "=" + string(spec)}
	cmd.SysProcAttr = &attr
	return cmd
}

// system makes the root, and stays as the first process until the program ends.
func (m machine) system() error {
	if err := m.makeRoot(); err != nil {
		return err
	}
	attr := syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if m.PrivateUsers {
		attr.Cloneflags = syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{Size: 1}, {ContainerID: m.User, HostID: m.User, Size: 1}}
		attr.GidMappings, attr.GidMappingsEnableSetgroups = attr.UidMappings, true
	}
	cmd := m.stage(context.Background(), "program", attr)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.Args[0], err)
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	return cmd.Wait()
}

func (m machine) makeRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts from the machine: %w", err)
	}
	root := m.Root
	if m.Overlay != "" {
		upper, work := filepath.Join(m.Overlay, "upper"), filepath.Join(m.Overlay, "work")
		root = filepath.Join(m.Overlay, "root")
		for _, folder := range []string{upper, work, root} {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		options := "lowerdir=/,upperdir=" + upper + ",workdir=" + work
		if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
			return fmt.Errorf("mount overlay: %w", err)
		}
	} else if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	for _, folder := range m.Writable {
		folder = filepath.Join(root, folder)
		if err := unix.Mount(folder, folder, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", folder, err)
		}
	}
	if len(m.Writable) > 0 {
		if err := errors.Join(
			os.MkdirAll(filepath.Join(root, "proc"), 0o755), os.MkdirAll(filepath.Join(root, "dev"), 0o755), // an engine makes these too
			unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""),
			unix.Mount("tmpfs", filepath.Join(root, "tmp"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"),
		); err != nil {
			return fmt.Errorf("make the root read-only: %w", err)
		}
	}
	processes := ""
	if m.HideProcesses {
		processes = "hidepid=invisible"
	}
	if err := errors.Join(
		unix.Mount("/dev", filepath.Join(root, "dev"), "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, processes),
		unix.Chdir(root),
		unix.PivotRoot(".", "."), // the old root is now over the new one
		unix.Unmount(".", unix.MNT_DETACH),
	); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	return os.Chdir("/")
}

// program gives up what the program must not have, and becomes it.
func (m machine) program() error {
	if m.User != 0 {
		for capability := uintptr(0); ; capability++ {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); errors.Is(err, unix.EINVAL) {
				break // the kernel has no further capability
			} else if err != nil {
				return fmt.Errorf("drop capability %d: %w", capability, err)
			}
		}
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(m.User, m.User, m.User), syscall.Setresuid(m.User, m.User, m.User),
			unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); err != nil {
			return fmt.Errorf("become user %d: %w", m.User, err)
		}
		syscall.Umask(0o077)
	}
	if m.Filter {
		if err := seccomp.LoadFilter(m.filter()); err != nil {
			return fmt.Errorf("restrict system calls: %w", err)
		}
	}
	return syscall.Exec(m.Args[0], m.Args, m.Env)
}

// The namespaces that RestrictNamespaces=user net leaves to others.
const otherNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID

// filter is what systemd makes of the unit's SystemCallFilter, RestrictNamespaces,
// RestrictAddressFamilies and MemoryDenyWriteExecute (systemd.exec(5), and
// src/shared/seccomp-util.c of systemd).
func (m machine) filter() seccomp.Filter {
	type condition = seccomp.Condition
	restricted := map[string][]seccomp.ArgumentConditions{
		"clone":         {{condition{Argument: 0, Operation: seccomp.BitsNotSet, Value: otherNamespaces}}},
		"unshare":       {{condition{Argument: 0, Operation: seccomp.BitsNotSet, Value: otherNamespaces}}},
		"setns":         {},
		"clone3":        {},
		"pkey_mprotect": {},
		"mprotect":      {{condition{Argument: 2, Operation: seccomp.BitsNotSet, Value: unix.PROT_EXEC}}},
		"mmap": {
			{condition{Argument: 2, Operation: seccomp.BitsNotSet, Value: unix.PROT_EXEC}},
			{condition{Argument: 2, Operation: seccomp.BitsNotSet, Value: unix.PROT_WRITE}},
		},
	}
	for _, family := range []uint64{unix.AF_INET, unix.AF_INET6, unix.AF_UNIX, unix.AF_NETLINK} {
		restricted["socket"] = append(restricted["socket"], seccomp.ArgumentConditions{condition{Argument: 0, Operation: seccomp.Equal, Value: family}})
	}
	allowed := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	for _, call := range m.Calls {
		conditions, is := restricted[call]
		if !is {
			allowed.Names = append(allowed.Names, call)
		}
		for _, c := range conditions {
			allowed.NamesWithCondtions = append(allowed.NamesWithCondtions, seccomp.NameWithConditions{Name: call, Conditions: c})
		}
	}
	return seccomp.Filter{Policy: seccomp.Policy{
		DefaultAction: seccomp.ActionErrno, // EPERM
		Syscalls: []seccomp.SyscallGroup{
			{Names: []string{"clone3"}, Action: seccomp.Action(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))},
			allowed,
		},
	}}
}
