//go:build linux

// Command hostile is a plugin that tries to escape from the sandbox. Its format probe
// tries one operation and returns the result. Its other formats each use up one
// resource.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

func main() {
	switch strings.TrimPrefix(os.Args[0], "countersign-plugin-") {
	case "panics":
		panic("at once")
	case "gibberish":
		fmt.Println("1|99|carrier pigeon|nowhere")
		time.Sleep(time.Hour)
	}
	sdk.Serve(plugin{})
}

type plugin struct{}

func (plugin) Formats() []sdk.Format {
	made := []sdk.Format{{ID: "probe", OptionsSchema: json.RawMessage(`{"properties":{"what":{"type":"string"},"target":{"type":"string"}}}`)}}
	for _, id := range []string{"hostile-pid", "allocate", "giant", "spin", "spin-inside", "threads", "files", "litter", "flood"} {
		made = append(made, sdk.Format{ID: id})
	}
	for i := range made {
		made[i].Filename, made[i].MediaType = made[i].ID+".out", "application/octet-stream"
	}
	return made
}

func (plugin) Render(_ context.Context, job sdk.Job) ([]byte, error) {
	switch job.Format {
	case "probe":
		var o struct{ What, Target string }
		if err := json.Unmarshal(job.Options, &o); err != nil {
			return nil, err
		}
		try, ok := probes[o.What]
		if !ok {
			return nil, errors.New("the probe is unknown")
		}
		got, err := try(o.Target)
		if err != nil {
			return []byte("refused: " + err.Error()), nil
		}
		return []byte("done: " + got), nil
	case "hostile-pid":
		return []byte(strconv.Itoa(os.Getpid())), nil
	case "allocate":
		allocate()
	case "giant":
		return make([]byte, 1<<30), nil
	case "spin":
		spin()
		return []byte("spinning"), nil
	case "spin-inside":
		spinning.Do(spin)
		time.Sleep(10 * time.Millisecond) // so that a render is running meanwhile
		return []byte("spinning"), nil
	case "threads":
		for {
			go func() {
				runtime.LockOSThread()
				select {}
			}()
			time.Sleep(100 * time.Microsecond)
		}
	case "files":
		return []byte(openFiles()), nil
	case "litter":
		for i := 0; ; i++ {
			if file, err := os.Create(filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), strconv.Itoa(i))); err == nil {
				_ = file.Close()
			}
		}
	case "flood":
		go flood(1)
		flood(2)
	}
	return nil, errors.New("the format is unknown")
}

var spinning sync.Once

// spin keeps many threads busy without end, so that it gets CPU time on a busy
// machine too.
func spin() {
	const threads = 16
	runtime.GOMAXPROCS(2 * threads)
	for range threads {
		go func() {
			for {
			}
		}()
	}
}

// allocate allocates memory without end, on so many threads that it reaches the limit
// before the deadline on a busy machine too.
func allocate() {
	const threads = 8
	runtime.GOMAXPROCS(2 * threads)
	for range threads {
		go func() {
			for kept := [][]byte{}; ; {
				more := make([]byte, 1<<20)
				for i := 0; i < len(more); i += os.Getpagesize() {
					more[i] = 1
				}
				kept = append(kept, more)
			}
		}()
	}
	select {}
}

func openFiles() string {
	var opened []int
	for {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil || len(opened) > 1<<16 {
			for _, fd := range opened {
				_ = unix.Close(fd)
			}
			return fmt.Sprintf("%d: %v", len(opened), err)
		}
		opened = append(opened, fd)
	}
}

func flood(fd int) {
	for line := bytes.Repeat([]byte("x"), 4095); ; {
		_, _ = unix.Write(fd, append(line, '\n'))
	}
}

// probes each try one operation. The sandbox must make it fail.
var probes = map[string]func(target string) (string, error){
	"dial tcp":  func(t string) (string, error) { return dial("tcp", t) },
	"dial udp":  func(t string) (string, error) { return dial("udp", t) },
	"dial unix": func(t string) (string, error) { return dial("unix", t) },
	"send unix": func(t string) (string, error) { return dial("unixgram", t) },
	"look up":   func(t string) (string, error) { _, err := net.LookupHost(t); return "found", err },
	"listen tcp": func(t string) (string, error) {
		l, err := net.Listen("tcp", t)
		if err != nil {
			return "", err
		}
		return "listening", l.Close()
	},
	// It keeps listening, so that a process outside can try to connect.
	"listen abstract": func(t string) (string, error) { _, err := net.Listen("unix", t); return "listening", err },
	"raw socket":      func(string) (string, error) { return number(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)) },
	"netlink":         func(string) (string, error) { return number(unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, 0)) },
	"vsock":           func(string) (string, error) { return number(unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)) },
	"io_uring": func(string) (string, error) {
		var params [120]byte
		fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
		return answer(int(fd), errno)
	},

	"read":   func(t string) (string, error) { text, err := os.ReadFile(t); return string(text), err },
	"list":   func(t string) (string, error) { list, err := os.ReadDir(t); return fmt.Sprint(list), err },
	"stat":   func(t string) (string, error) { info, err := os.Stat(t); return fmt.Sprint(info), err },
	"path":   func(t string) (string, error) { return number(unix.Open(t, unix.O_PATH, 0)) },
	"write":  func(t string) (string, error) { return "written", os.WriteFile(t, []byte("x"), 0o600) },
	"mkdir":  func(t string) (string, error) { return "made", os.Mkdir(t, 0o700) },
	"remove": func(t string) (string, error) { return "removed", os.Remove(t) },
	"chmod":  func(t string) (string, error) { return "changed", os.Chmod(t, 0o777) },
	"link":   func(t string) (string, error) { return "linked", os.Symlink(t, own("link")) },
	"own folder": func(string) (string, error) {
		// The plugin may create a file in its folder, but not write to it.
		file, err := os.Create(own("file"))
		if err != nil {
			return "made none", nil
		}
		defer func() { _ = os.Remove(file.Name()) }()
		blockSIGXFSZ()
		_, err = file.Write([]byte("x"))
		return "filled", err
	},

	"start": func(t string) (string, error) {
		child := exec.Command(t)
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		return "started", child.Start()
	},
	"fork": func(string) (string, error) {
		child, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if child == 0 && errno == 0 {
			unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
			for {
				unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
			}
		}
		return answer(int(child), errno)
	},
	"setsid": func(string) (string, error) { return number(unix.Setsid()) },
	"signal": func(t string) (string, error) { pid, _ := strconv.Atoi(t); return "sent", unix.Kill(pid, unix.SIGCONT) },
	"trace":  func(t string) (string, error) { pid, _ := strconv.Atoi(t); return "traced", unix.PtraceSeize(pid) },
	"limit other": func(t string) (string, error) {
		pid, _ := strconv.Atoi(t)
		return "set", unix.Prlimit(pid, unix.RLIMIT_CPU, nil, &unix.Rlimit{})
	},
	"outlive":    func(string) (string, error) { return "survives", unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) },
	"namespace":  func(string) (string, error) { return "apart", unix.Unshare(unix.CLONE_NEWUSER) },
	"bind mount": func(t string) (string, error) { return "mounted", unix.Mount(t, own(""), "", unix.MS_BIND, "") },
	"user":       func(string) (string, error) { return "changed", unix.Setresuid(0, 0, 0) },
	"huge pages": func(string) (string, error) {
		_, err := unix.Mmap(-1, 0, 2<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_HUGETLB)
		return "mapped", err
	},
	"shared memory": func(string) (string, error) {
		id, _, errno := unix.Syscall(unix.SYS_SHMGET, 0, 4096, unix.IPC_CREAT|0o600)
		return answer(int(id), errno)
	},
	"memory file": func(string) (string, error) { return number(unix.MemfdCreate("x", 0)) },
	"raise limits": func(string) (string, error) {
		return "raised", unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 16, Max: 1 << 16}, nil)
	},
	"descriptor": func(t string) (string, error) {
		fd, _ := strconv.Atoi(t)
		return number(unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0))
	},
	"environment": func(string) (string, error) { return strings.Join(os.Environ(), "\n"), nil },
}

func own(name string) string { return filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), name) }

// blockSIGXFSZ makes a write beyond the limit fail instead of ending the process.
func blockSIGXFSZ() {
	runtime.LockOSThread()
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, 0, uintptr(unsafe.Pointer(&sigxfsz)), 0, 8, 0, 0)
}

var sigxfsz = uint64(1) << (unix.SIGXFSZ - 1)

func dial(network, target string) (string, error) {
	c, err := net.DialTimeout(network, target, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_, err = c.Write([]byte("x"))
	return "sent", err
}

func number(n int, err error) (string, error) { return strconv.Itoa(n), err }

func answer(n int, errno syscall.Errno) (string, error) {
	if errno != 0 {
		return "", errno
	}
	return strconv.Itoa(n), nil
}
