//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal with a person at it.
type terminal struct {
	t             *testing.T
	person, lines *os.File
	mu            sync.Mutex
	shown         bytes.Buffer
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	noError(t, err)
	noError(t, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	noError(t, err)
	lines, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	noError(t, err)
	term := &terminal{t: t, person: person, lines: lines}
	go func() {
		text := make([]byte, 4096)
		for {
			n, err := person.Read(text)
			term.mu.Lock()
			term.shown.Write(text[:n])
			term.mu.Unlock()
			if err != nil {
				return // the terminal was closed
			}
		}
	}()
	t.Cleanup(func() { _, _ = lines.Close(), person.Close() })
	return term
}

func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.shown.String()
}

func (term *terminal) echoes() bool {
	state, err := unix.IoctlGetTermios(int(term.lines.Fd()), unix.TCGETS)
	noError(term.t, err)
	return state.Lflag&unix.ECHO != 0
}

// await waits until this number of prompts is shown and typing is not echoed.
func (term *terminal) await(prompts int) {
	term.t.Helper()
	eventually(term.t, "a hidden prompt", func() bool {
		return strings.Count(term.text(), ": ") == prompts && !term.echoes()
	})
}

func (term *terminal) types(text string) {
	_, err := term.person.WriteString(text)
	noError(term.t, err)
}

// TestTerminal types a passphrase as a person does, and interrupts the prompt.
func TestTerminal(t *testing.T) {
	t.Parallel()
	s, program := project(t), binary(t)
	s.allow(true)
	command := func(term *terminal, folder string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), program, "download", "--certificate", s.boot.Certificates[0].ID, "--format", "pkcs12")
		cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = folder, term.lines, term.lines, term.lines
		cmd.Env = append(os.Environ(), serverVariable+"="+s.url, projectVariable+"="+s.boot.ProjectID, keyVariable+"="+s.boot.APIKeys["operator"])
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		return cmd
	}
	t.Run("typed", func(t *testing.T) {
		term, folder := newTerminal(t), t.TempDir()
		cmd := command(term, folder)
		noError(t, cmd.Start())
		term.await(1)
		term.types(testPassphrase + "\r")
		term.await(2)
		term.types(testPassphrase + "\r")
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, term.text())
		}
		eventually(t, "the answer", func() bool { return strings.Contains(term.text(), "SHA-256") })
		if shown := term.text(); strings.Contains(shown, testPassphrase) || !strings.Contains(shown, "downloading") {
			t.Errorf("the terminal shows %q", shown)
		}
		run(t, nil, "openssl", "pkcs12", "-noout", "-in", filepath.Join(folder, "bundle.pkcs12"), "-passin", "pass:"+testPassphrase)
	})
	t.Run("interrupted", func(t *testing.T) {
		term, folder := newTerminal(t), t.TempDir()
		cmd := command(term, folder)
		noError(t, cmd.Start())
		term.await(1)
		term.types("half\x03")
		_ = cmd.Wait() // its exit code is checked
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
			t.Errorf("exit code %d, want %d: %s", code, exitInterrupted, term.text())
		}
		if !term.echoes() {
			t.Error("the terminal was left without echo")
		}
		left, err := os.ReadDir(folder)
		noError(t, err)
		if len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestWaitingAtATerminal: the terminal shows whose approval is missing (without names,
// if they cannot be read), and that the server does not answer.
func TestWaitingAtATerminal(t *testing.T) {
	for members, want := range map[string]string{"well": "0 of 2 approvals given; waiting for: carol; ", "failing": "0 of 2 approvals given; "} {
		m, url := newApprovalServer(t, time.Now().Add(2*time.Hour), map[string][]string{"request": {"pending_approval", "broken"}, "members": {members}})
		term := newTerminal(t)
		t.Setenv(serverVariable, url)
		t.Setenv(projectVariable, "p")
		t.Setenv(keyVariable, "k")
		t.Chdir(t.TempDir())
		root := rootCommand()
		root.SetArgs([]string{"download", "--certificate", "c", "--format", "cert", "--wait"})
		root.SetErr(term.lines)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- root.ExecuteContext(ctx) }()
		eventually(t, "a server that does not answer", func() bool { return strings.Contains(term.text(), "the server does not answer") })
		cancel()
		if err := <-ended; exitCode(err) != exitInterrupted {
			t.Error(err)
		}
		eventually(t, "the hint", func() bool { return strings.Contains(term.text(), toGoOn) })
		if shown := term.text(); !strings.Contains(shown, want) || strings.Contains(shown, "waiting for") != (members == "well") {
			t.Errorf("the terminal shows %q, want %q", shown, want)
		}
		if n := m.count("members"); n != 1 {
			t.Errorf("the members were read %d times", n)
		}
	}
}
