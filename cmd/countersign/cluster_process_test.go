//go:build cluster || keepers

package main

import (
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// process is a server that tests stop and start again. Its output goes to a file that
// has its name.
type process struct {
	name    string
	command func() *exec.Cmd
	log     string
	cmd     *exec.Cmd
	ended   chan struct{}
}

// startProcess starts a server that ends after all tests, by the signal with which it
// ends in order. A server also ends when the test program dies.
func startProcess(t *testing.T, dir, name string, end syscall.Signal, command func() *exec.Cmd) *process {
	t.Helper()
	p := &process{name: name, command: command, log: filepath.Join(dir, name+".log")}
	p.start(t)
	afterTests = append(afterTests, func() { p.end(end) })
	return p
}

func (p *process) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	noError(t, err)
	cmd, ended := p.command(), make(chan struct{})
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	cmd.Stdout, cmd.Stderr = log, log
	noError(t, cmd.Start())
	noError(t, log.Close())
	p.cmd, p.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // how it ended is read from ProcessState
		close(ended)
	}()
}

// end ends the process, unless it has ended.
func (p *process) end(signal syscall.Signal) {
	select {
	case <-p.ended:
	default:
		_ = p.cmd.Process.Signal(signal) // it may have ended by itself meanwhile
		select {
		case <-p.ended:
		case <-time.After(2 * time.Minute):
			_ = p.cmd.Process.Kill()
			panic(p.name + " has not ended two minutes after the signal " + signal.String())
		}
	}
}

func (p *process) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	noError(t, p.cmd.Process.Signal(signal))
}

// await waits until the server answers; it fails if the server has ended.
func (p *process) await(t *testing.T, answers func() bool) {
	t.Helper()
	eventually(t, "an answer of "+p.name, func() bool {
		select {
		case <-p.ended:
			text, _ := os.ReadFile(p.log)
			t.Fatalf("%s ended: %v\n%s", p.name, p.cmd.ProcessState, text[max(0, len(text)-4000):])
		default:
		}
		return answers()
	})
}

// freePorts are ports of the loopback address that no program has at the moment. They
// are below those that the system gives to connections, which could take one before its
// server starts, and fit the 15 bits that Temporal's database has for a port.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for len(ports) < n {
		port := 20000 + rand.IntN(12768) //nolint:gosec // not secret
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue // another program has it
		}
		defer l.Close() // so that no port is given twice
		ports = append(ports, port)
	}
	return ports
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
