package http1

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func everyAddress(at netip.Addr) (netip.Prefix, bool) { return netip.PrefixFrom(at, at.BitLen()), true }

func noAddress(netip.Addr) (netip.Prefix, bool) { return netip.Prefix{}, false }

// serve listens within limits and answers each connection with one line.
func serve(limits Limits) (net.Listener, error) {
	limits.HeadTime = time.Minute
	return serveTLS(nil, limits)
}

func serveTLS(secure *tls.Config, limits Limits) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	limits.Head = 1 << 10
	limited := Listen(l, secure, limits, slog.New(slog.DiscardHandler))
	go func() {
		for {
			c, err := limited.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				if secure != nil { // the first Read makes the handshake
					if _, err := c.Read(make([]byte, 1)); err != nil {
						return
					}
				}
				_, _ = io.WriteString(c, "served\n")
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return l, nil
}

// dial opens a connection and reports whether it is served or was closed.
func dial(t *testing.T, address string) (c net.Conn, served bool) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Fatal("the connection is neither served nor closed")
	}
	return c, line == "served\n"
}

func TestConnectionsAreLimited(t *testing.T) {
	for name, limits := range map[string]Limits{
		"in total":       {Connections: 2, PerGroup: 1, Group: noAddress},
		"of one address": {Connections: 3, PerGroup: 2, Group: everyAddress},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := serve(limits)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			address := l.Addr().String()
			first, served := dial(t, address)
			if _, also := dial(t, address); !served || !also {
				t.Fatal("a connection within the limit is not served")
			}
			if _, served := dial(t, address); served {
				t.Fatal("a third connection is served")
			}
			_ = first.Close()
			for served = false; !served; { // until the server has seen that it closed
				_, served = dial(t, address)
			}
		})
	}
}

// A process without a free file descriptor goes on accepting when one is free.
func TestAcceptWithoutFileDescriptors(t *testing.T) {
	const variable = "COUNTERSIGN_TEST_FEW_FILES"
	if os.Getenv(variable) != "" {
		if err := fewFiles(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"=1")
	stop, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address = strings.TrimSpace(address)
	var silent []net.Conn
	for range 100 { // the process has room for half of them
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	for _, c := range silent {
		_ = c.Close()
	}
	if _, served := dial(t, address); !served {
		t.Fatal("the process does not serve")
	}
	_ = stop.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// fewFiles serves with 64 file descriptors until standard input ends.
func fewFiles() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64}); err != nil {
		return err
	}
	l, err := serve(Limits{Connections: 1000, PerGroup: 1000, Group: everyAddress})
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
