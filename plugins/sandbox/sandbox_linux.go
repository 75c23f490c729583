package sandbox

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// confine puts this thread, and so what it becomes, under everything that the
// kernel and the host's own privileges allow:
//
//  1. a network of its own with nothing in it, where the host could start this
//     process in one (setApart): nothing else keeps others from a socket that it
//     listens on by an abstract name, which no file permissions guard;
//  2. Landlock: no file but its own folder's, no TCP, no abstract socket and no
//     signal to a process outside;
//  3. none of the host's capabilities, and no way to get any;
//  4. limits that the kernel counts;
//  5. no descriptor but the standard ones;
//  6. only the system calls that a renderer needs: see filter.
//
// The steps overlap on purpose: each holds where another is not to be had.
func confine(s Spec) Report {
	network := ownNetwork(s)
	files := restrictFiles(s)
	privileges := dropPrivileges()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)      // fails where that would be a step forward
	open := limit(unix.RLIMIT_NOFILE, uint64(s.Limits.Files)) //nolint:gosec // limits are positive
	files = errors.Join(files, limitRest(), closeInherited())
	calls := loadFilter(s)

	var r Report
	r.Note(Privileges, privileges)
	r.Note(Network, errors.Join(network, calls)) // which keep it from other families, as of virtual machines
	// Landlock alone leaves it sockets in the file system, modes and times.
	r.Note(Files, errors.Join(files, calls))
	r.Note(Processes, calls)
	r.Note(Memory, calls) // without the filter it can take some that is not its own
	r.Note(OpenFiles, open)
	r.Note(Threads, nil) // the host watches these two
	r.Note(CPU, nil)
	return r
}

// niceness is how far plugins step back behind the host (setpriority(2)), which
// has three times the CPU of one of their threads where both want it.
const niceness = 5

// because says what failed, by the error number alone: a report is shown to
// anybody and names no path.
func because(what string, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno
	}
	return fmt.Errorf("%s (%w)", what, err)
}

// setApart has a process start in a network of its own. Who may not make one may
// still make a user namespace, in which one may. Its capabilities are gone when
// the launcher runs, or for root given up by it.
func setApart(attr *syscall.SysProcAttr) {
	attr.Cloneflags = unix.CLONE_NEWNET
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held [2]unix.CapUserData
	if err := unix.Capget(&header, &held[0]); err == nil && held[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0 {
		return
	}
	attr.Cloneflags |= unix.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
}

// network tells this thread's from others, and is "" where that cannot be told.
func network() string {
	id, _ := os.Readlink("/proc/thread-self/ns/net")
	return id
}

// ownNetwork looks whether this process is in another network than the host:
// that it was to be started so is not enough to say so.
func ownNetwork(s Spec) error {
	if own := network(); own == "" || s.Network == "" || own == s.Network {
		return errors.New("it may listen on an abstract socket, being in no network of its own")
	}
	return nil
}

// ownFolder is what making and removing a socket takes, by way of the empty
// file that go-plugin makes first to find a free name.
const ownFolder = ll.AccessFSMakeSock | ll.AccessFSMakeReg | ll.AccessFSRemoveFile | ll.AccessFSReadFile | ll.AccessFSWriteFile

func restrictFiles(s Spec) error {
	if _, err := ll.LandlockGetABIVersion(); err != nil {
		return because("the kernel has no Landlock", err)
	}
	rules := []landlock.Rule{landlock.PathAccess(ownFolder, s.Folder)}
	if s.Libraries {
		rules = append(rules,
			landlock.RODirs("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib").IgnoreIfMissing(),
			landlock.ROFiles("/etc/ld.so.cache").IgnoreIfMissing())
	}
	if err := landlock.V11.BestEffort().Restrict(rules...); err != nil {
		return because("Landlock failed", err)
	}
	if s.Libraries {
		return errors.New("it reads the system's libraries, because it is not linked statically (CGO_ENABLED=0)")
	}
	return nil
}

// dropPrivileges gives up all capabilities. A process of root gets those back
// at exec that the bounding set still holds, so it must be empty.
func dropPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return because("no_new_privs failed", err)
	}
	var kept error
	for capability := uintptr(0); os.Geteuid() == 0; capability++ {
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, capability, 0, 0, 0)
		if err != nil {
			break // the kernel knows no further one
		}
		if held == 1 && kept == nil {
			kept = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		}
	}
	if kept != nil {
		kept = because("it runs as root, whose capabilities the host may not take away", kept)
	}
	// Kernels before 4.3 have no ambient capabilities to clear.
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return errors.Join(kept, because("capset failed", err))
	}
	return kept
}

// limit lowers a limit for good. One that is lower already stays as it is.
func limit(resource int, most uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return because("getrlimit failed", err)
	}
	most = min(most, now.Max)
	if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
		return because("setrlimit failed", err)
	}
	return nil
}

const stackBytes = 8 << 20

// limitRest keeps it from leaving data behind: in files, in core dumps, which
// would hold keys, and in message queues.
func limitRest() error {
	return errors.Join(
		limit(unix.RLIMIT_FSIZE, 0),
		limit(unix.RLIMIT_CORE, 1), // 0 would not stop a dump that is piped to a program (core(5))
		limit(unix.RLIMIT_MSGQUEUE, 0),
		limit(unix.RLIMIT_STACK, stackBytes),
	)
}

// reserved is how much address space a process may have beyond the memory it may
// use. Go's runtime reserves 1.2 GiB that it never touches, so this limit alone
// is a loose one: the host watches what is used, and ends the plugin beyond it;
// the kernel refuses what could be taken between two looks. RLIMIT_DATA would be
// no better: mmap over a reservation does not count for it at first.
const reserved = 2 << 30

// limitMemory cannot fail: lowering one's own limits is always allowed.
func limitMemory(l Limits) {
	_ = limit(unix.RLIMIT_AS, uint64(l.MemoryMiB)<<20+reserved) //nolint:gosec // limits are positive
}

// closeInherited has exec close every descriptor but the standard ones: the
// image's, this launcher's, and those that the host inherited without knowing.
func closeInherited() error {
	unix.CloseOnExec(imageFD) // on kernels before 5.11 these two at least
	unix.CloseOnExec(reportFD)
	if err := unix.CloseRange(imageFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return because("close_range failed", err)
	}
	return nil
}
