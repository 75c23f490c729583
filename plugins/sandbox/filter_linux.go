//go:build amd64 || arm64

package sandbox

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// calls are the system calls that a renderer may make as it likes: to use its
// memory, threads, clock, descriptors and its one socket. They are what Go's
// runtime and common C libraries need for that. What is not here or in rules
// does not work, and that is the point: no connect, no exec, no mode or owner
// changed, no tracing, no io_uring (which would go around this filter), no
// shared memory that would outlive the process.
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

// check wants the bits of an argument that the mask covers to have a value. It
// sees the lower half of the argument, which is all that the kernel reads of
// those that are checked here.
type check struct {
	argument    uint32
	mask, value uint32
}

func is(argument, value uint32) check { return check{argument, ^uint32(0), value} }

// The options of prctl(2) that only name things. Another would take away the
// signal that ends the plugin with its host.
var namings = []uint32{unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_VMA}

// What ioctl(2) may do instead of fcntl (asm-generic/ioctls.h).
const (
	fionbio = 0x5421
	fioclex = 0x5451
)

// rules allow calls by their arguments.
func rules(s Spec) []rule {
	self := uint32(os.Getpid()) //nolint:gosec // process ids are positive and below 2^22
	list := []rule{
		{unix.SYS_MMAP, []check{{3, unix.MAP_HUGETLB, 0}}}, // which does not count as memory in use
		{unix.SYS_CLONE, []check{{0, unix.CLONE_THREAD, unix.CLONE_THREAD}}},
		{unix.SYS_SOCKET, []check{is(0, unix.AF_UNIX), {1, 0xf, unix.SOCK_STREAM}}},
		{unix.SYS_OPENAT, []check{{2, unix.O_PATH, 0}}}, // which Landlock lets through, for any path
		{unix.SYS_KILL, []check{is(0, self)}},
		{unix.SYS_TGKILL, []check{is(0, self)}},
		{unix.SYS_PRLIMIT64, []check{is(0, 0)}}, // of itself
		{unix.SYS_EXECVEAT, []check{is(0, imageFD), is(4, unix.AT_EMPTY_PATH)}},
		{unix.SYS_IOCTL, []check{is(1, fionbio)}},
		{unix.SYS_IOCTL, []check{is(1, fioclex)}},
	}
	for _, option := range namings {
		list = append(list, rule{unix.SYS_PRCTL, []check{is(0, option)}})
	}
	// Not F_SETOWN and F_SETSIG, which send any signal to anybody.
	for _, command := range []uint32{unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL} {
		list = append(list, rule{unix.SYS_FCNTL, []check{is(1, command)}})
	}
	if s.Libraries { // the dynamic linker asks for the size of each
		list = append(list, rule{unix.SYS_NEWFSTATAT, nil}, rule{unix.SYS_STATX, nil})
	}
	return append(list, archRules...)
}

// firstNew is the first call that got one number on all architectures, in Linux
// 5.1. Programs know how to do without those from there on when they are told
// that there is no such call.
const firstNew = unix.SYS_PIDFD_SEND_SIGNAL

// The offsets of seccomp_data (linux/seccomp.h).
const (
	atCall      = 0
	atArch      = 4
	atArguments = 16
)

// filter is the program that the kernel runs at every call.
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
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: firstNew, Jt: 0, Jf: 1},
		answer(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)),
		answer(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)),
	)
}

// assemble goes on behind itself unless the rule applies.
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

// equal skips yes or no instructions, by whether what was loaded is the value.
func equal(value uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: yes, Jf: no}
}

func answer(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

// loadFilter puts this thread under the filter. no_new_privs is set by now.
func loadFilter(s Spec) error {
	program := filter(s)
	bpf := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}                                                          //nolint:gosec // a few hundred instructions
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&bpf))); errno != 0 { //nolint:gosec // how the call takes it
		return because("the kernel has no seccomp filters", errno)
	}
	return nil
}
