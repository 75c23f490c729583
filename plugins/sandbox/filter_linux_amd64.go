package sandbox

import "golang.org/x/sys/unix"

const arch = unix.AUDIT_ARCH_X86_64

// archCalls are older forms of calls that every architecture has.
var archCalls = []uint32{
	unix.SYS_ARCH_PRCTL, unix.SYS_UNLINK, unix.SYS_PIPE, unix.SYS_DUP2, unix.SYS_TIME,
	unix.SYS_EPOLL_CREATE, unix.SYS_EPOLL_WAIT, unix.SYS_POLL, unix.SYS_SELECT, unix.SYS_EVENTFD,
}

var archRules = []rule{{unix.SYS_OPEN, []check{{1, unix.O_PATH, 0}}}}
