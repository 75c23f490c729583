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

// confine applies to this thread, and so to the plugin that it becomes, everything
// that the kernel and the host's own privileges allow:
//
//  1. an empty network of its own, if the host could start this process in one
//     (setOwnNetwork). Nothing else keeps others away from a socket on which the
//     plugin listens by an abstract name, because no file permissions protect it;
//  2. Landlock: no files but those of its own folder, no TCP, and no abstract
//     sockets of or signals to processes outside;
//  3. no capabilities, and no way to get any;
//  4. the limits that the kernel counts;
//  5. no descriptors but the standard ones;
//  6. only the system calls that a renderer needs: see filter.
//
// The steps overlap on purpose: each also holds where another is not available.
func confine(s Spec) Report {
	network := checkNetwork(s)
	files := restrictFiles(s)
	privileges := dropPrivileges()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)      // it fails if the host already has a lower priority
	open := limit(unix.RLIMIT_NOFILE, uint64(s.Limits.Files)) //nolint:gosec // limits are positive
	files = errors.Join(files, limitTraces(), closeInherited())
	calls := loadFilter(s)

	var r Report
	r.add(Privileges, privileges)
	r.add(Network, errors.Join(network, calls)) // the filter refuses other socket families, such as those of virtual machines
	// Landlock alone permits sockets in the file system and changes of modes and times.
	r.add(Files, errors.Join(files, calls))
	r.add(Processes, calls)
	r.add(Memory, calls) // without the filter it can use memory that is not counted as its own
	r.add(OpenFiles, open)
	r.add(Threads, nil) // the host watches these two (package runtime)
	r.add(CPU, nil)
	return r
}

// niceness lowers the priority of plugins (setpriority(2)). A thread of the host
// gets three times the CPU time of a plugin's thread if both need it.
const niceness = 5

// failed names what failed and the error number alone. A report is shown to every
// user, so it must not contain a path.
func failed(what string, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno
	}
	return fmt.Errorf("%s (%w)", what, err)
}

// setOwnNetwork makes a process start in a network of its own. A user who may not
// make one may still make a user namespace, in which everybody may. The process has
// lost the capabilities of that namespace when the launcher runs; for root, the
// launcher gives them up.
func setOwnNetwork(attr *syscall.SysProcAttr) {
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

// network returns the identity of this thread's network, or "" if it is unknown.
func network() string {
	id, _ := os.Readlink("/proc/thread-self/ns/net")
	return id
}

// checkNetwork checks that this process is in another network than the host. That
// the host requested this does not prove it.
func checkNetwork(s Spec) error {
	if own := network(); own == "" || s.Network == "" || own == s.Network {
		return errors.New("it may listen on an abstract socket, because it has no network of its own")
	}
	return nil
}

// socketAccess is what a plugin needs to make and remove its socket. go-plugin first
// makes an empty file to find a free name.
const socketAccess = ll.AccessFSMakeSock | ll.AccessFSMakeReg | ll.AccessFSRemoveFile | ll.AccessFSReadFile | ll.AccessFSWriteFile

func restrictFiles(s Spec) error {
	if _, err := ll.LandlockGetABIVersion(); err != nil {
		return failed("the kernel has no Landlock", err)
	}
	rules := []landlock.Rule{landlock.PathAccess(socketAccess, s.Folder)}
	if s.Libraries {
		rules = append(rules,
			landlock.RODirs("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib").IgnoreIfMissing(),
			landlock.ROFiles("/etc/ld.so.cache").IgnoreIfMissing())
	}
	if err := landlock.V11.BestEffort().Restrict(rules...); err != nil {
		return failed("Landlock failed", err)
	}
	if s.Libraries {
		return errors.New("it reads the system's libraries, because it is not linked statically (CGO_ENABLED=0)")
	}
	return nil
}

// dropPrivileges gives up all capabilities. At exec, a process of root regains those
// of the bounding set, so that must be empty.
func dropPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return failed("no_new_privs failed", err)
	}
	var dropErr error
	for capability := uintptr(0); os.Geteuid() == 0; capability++ {
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, capability, 0, 0, 0)
		if err != nil {
			break // the kernel has no further capability
		}
		if held == 1 && dropErr == nil {
			dropErr = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		}
	}
	if dropErr != nil {
		dropErr = failed("it runs as root, whose capabilities the host may not take away", dropErr)
	}
	// Kernels before 4.3 have no ambient capabilities to clear.
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return errors.Join(dropErr, failed("capset failed", err))
	}
	return dropErr
}

// limit lowers a limit permanently. A limit that is lower already stays as it is.
func limit(resource int, most uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return failed("getrlimit failed", err)
	}
	most = min(most, now.Max)
	if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
		return failed("setrlimit failed", err)
	}
	return nil
}

const stackBytes = 8 << 20

// limitTraces keeps the plugin from leaving data behind in files, message queues and
// core dumps, which would contain keys.
func limitTraces() error {
	return errors.Join(
		limit(unix.RLIMIT_FSIZE, 0),
		limit(unix.RLIMIT_CORE, 1), // 0 would not stop a dump that is piped to a program (core(5))
		limit(unix.RLIMIT_MSGQUEUE, 0),
		limit(unix.RLIMIT_STACK, stackBytes),
	)
}

// addressSlack is how much address space a process may have beyond the memory that
// it may use, in bytes. Go's runtime reserves 1.2 GiB that it never touches, so this
// limit is a loose one. The host watches the memory in use and kills the plugin that
// exceeds its limit; the kernel refuses what it could take between two looks.
// RLIMIT_DATA would be no better: at first it does not count mmap over a reservation.
const addressSlack = 2 << 30

// limitMemory cannot fail, because every process may lower its own limits.
func limitMemory(l Limits) {
	_ = limit(unix.RLIMIT_AS, uint64(l.MemoryMiB)<<20+addressSlack) //nolint:gosec // limits are positive
}

// closeInherited makes exec close every descriptor but the standard ones: the image,
// the launcher's pipe, and those that the host inherited without knowing.
func closeInherited() error {
	unix.CloseOnExec(imageFD) // this alone works on kernels before 5.11
	unix.CloseOnExec(reportFD)
	if err := unix.CloseRange(imageFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return failed("close_range failed", err)
	}
	return nil
}
