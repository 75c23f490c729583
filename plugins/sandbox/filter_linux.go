//go:build amd64 || arm64

package sandbox

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// calls are the system calls that a renderer may make with any arguments: to use its
// memory, threads, clock, descriptors and its one socket. Go's runtime and common C
// libraries need them. All calls that are neither here nor in rules fail. Among these
// are connect, exec, changes of modes and owners, tracing, io_uring (which would
// bypass this filter) and shared memory that would outlive the process.
var calls = append([]uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_LSEEK,
	unix.SYS_CLOSE, unix.SYS_CLOSE_RANGE, unix.SYS_FSTAT, unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_PIPE2, unix.SYS_EVENTFD2,
	unix.SYS_TIMERFD_CREATE, unix.SYS_TIMERFD_SETTIME, unix.SYS_TIMERFD_GETTIME,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_PPOLL, unix.SYS_PSELECT6,
	unix.SYS_UNLINKAT, unix.SYS_GETCWD,

	unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_SHUTDOWN,
	unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT,
	unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_SENDTO, unix.SYS_SENDMSG,

	unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE, unix.SYS_MREMAP, unix.SYS_BRK, unix.SYS_MINCORE,
	unix.SYS_MLOCK, unix.SYS_MLOCK2, unix.SYS_MUNLOCK, unix.SYS_MEMBARRIER,

	unix.SYS_FUTEX, unix.SYS_SET_ROBUST_LIST, unix.SYS_GET_ROBUST_LIST, unix.SYS_SET_TID_ADDRESS, unix.SYS_RSEQ,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_GETTID, unix.SYS_GETPID, unix.SYS_GETPPID,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETCPU, unix.SYS_RESTART_SYSCALL,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_SIGALTSTACK,

	unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_NANOSLEEP, unix.SYS_GETTIMEOFDAY,
	unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_UMASK,
	unix.SYS_GETRANDOM, unix.SYS_GETRLIMIT, unix.SYS_GETRUSAGE, unix.SYS_SYSINFO, unix.SYS_UNAME,
}, archCalls...)

// rule allows a call whose arguments pass every check.
type rule struct {
	call   uint32
	checks []check
}

// check compares the bits of an argument that the mask covers with a value. It sees
// the lower half of the argument, which is all that the kernel reads of the arguments
// that are checked here.
type check struct {
	argument    uint32
	mask, value uint32
}

func equals(argument, value uint32) check { return check{argument, ^uint32(0), value} }

// prctlOptions are those of prctl(2) that only set or read names. Another option
// would remove the signal that ends the plugin with its host.
var prctlOptions = []uint32{unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_VMA}

// The operations of ioctl(2) that replace fcntl (asm-generic/ioctls.h).
const (
	fionbio = 0x5421
	fioclex = 0x5451
)

// rules allow calls by their arguments.
func rules(s Spec) []rule {
	self := uint32(os.Getpid()) //nolint:gosec // process ids are positive and below 2^22
	list := []rule{
		{unix.SYS_MMAP, []check{{3, unix.MAP_HUGETLB, 0}}}, // huge pages are not counted as memory in use
		{unix.SYS_CLONE, []check{{0, unix.CLONE_THREAD, unix.CLONE_THREAD}}},
		{unix.SYS_SOCKET, []check{equals(0, unix.AF_UNIX), {1, 0xf, unix.SOCK_STREAM}}},
		{unix.SYS_OPENAT, []check{{2, unix.O_PATH, 0}}}, // Landlock does not restrict O_PATH
		{unix.SYS_KILL, []check{equals(0, self)}},
		{unix.SYS_TGKILL, []check{equals(0, self)}},
		{unix.SYS_PRLIMIT64, []check{equals(0, 0)}}, // its own limits
		{unix.SYS_EXECVEAT, []check{equals(0, imageFD), equals(4, unix.AT_EMPTY_PATH)}},
		{unix.SYS_IOCTL, []check{equals(1, fionbio)}},
		{unix.SYS_IOCTL, []check{equals(1, fioclex)}},
	}
	for _, option := range prctlOptions {
		list = append(list, rule{unix.SYS_PRCTL, []check{equals(0, option)}})
	}
	// F_SETOWN and F_SETSIG are left out: they can send any signal to any process.
	for _, command := range []uint32{unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL} {
		list = append(list, rule{unix.SYS_FCNTL, []check{equals(1, command)}})
	}
	if s.Libraries { // the dynamic linker asks for the size of each library
		list = append(list, rule{unix.SYS_NEWFSTATAT, nil}, rule{unix.SYS_STATX, nil})
	}
	return append(list, archRules...)
}

// firstUnified is the first call with the same number on all architectures, in Linux
// 5.1. Programs can work without the calls from there on if the answer is ENOSYS.
const firstUnified = unix.SYS_PIDFD_SEND_SIGNAL

// The offsets of seccomp_data (linux/seccomp.h).
const (
	atCall      = 0
	atArch      = 4
	atArguments = 16
)

// filter returns the program that the kernel runs at every system call.
func filter(s Spec) []unix.SockFilter {
	program := []unix.SockFilter{load(atArch), equal(arch, 1, 0), answer(unix.SECCOMP_RET_KILL_PROCESS), load(atCall)}
	for _, call := range calls {
		program = append(program, equal(call, 0, 1), answer(unix.SECCOMP_RET_ALLOW))
	}
	for _, r := range rules(s) {
		program = append(program, r.assemble()...)
	}
	return append(program,
		load(atCall),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: firstUnified, Jt: 0, Jf: 1},
		answer(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)),
		answer(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)),
	)
}

// assemble returns the instructions of a rule. If the rule does not apply, execution
// continues after them.
func (r rule) assemble() []unix.SockFilter {
	rest := uint8(3*len(r.checks) + 1) //nolint:gosec // rules have a few checks
	program := []unix.SockFilter{load(atCall), equal(r.call, 0, rest)}
	for _, c := range r.checks {
		rest -= 3
		program = append(program,
			load(atArguments+8*c.argument),
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: c.mask},
			equal(c.value, 0, rest))
	}
	return append(program, answer(unix.SECCOMP_RET_ALLOW))
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// equal skips yes instructions if the loaded word is the value, and no otherwise.
func equal(value uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: yes, Jf: no}
}

func answer(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

// loadFilter applies the filter to this thread. It needs no_new_privs, which
// dropPrivileges sets.
func loadFilter(s Spec) error {
	program := filter(s)
	bpf := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}                                                          //nolint:gosec // a few hundred instructions
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&bpf))); errno != 0 { //nolint:gosec // the system call takes an address
		return failed("the kernel has no seccomp filters", errno)
	}
	return nil
}
