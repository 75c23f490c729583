package forward

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// readWhole returns nil if the other side read all that was sent before it closed the
// connection. If it had left something unread, or had closed before everything arrived,
// its system would have reset the connection instead of acknowledging what was sent. A
// close_notify alone does not say so: the other side may send it at any time.
func readWhole(ctx context.Context, conn net.Conn) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return fmt.Errorf("%T is no TCP connection", conn)
	}
	if err := tcp.CloseWrite(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(tcp, maxAnswer)); err != nil {
		return err
	}
	socket, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	for {
		unacknowledged, reset := 0, 0
		var failed error
		err := socket.Control(func(fd uintptr) {
			if unacknowledged, failed = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); failed == nil {
				reset, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
			}
		})
		switch {
		case err != nil:
			return err
		case failed != nil:
			return failed
		case reset != 0:
			return fmt.Errorf("the receiver ended the connection before it had read everything: %w", unix.Errno(reset)) //nolint:gosec // an error number
		case unacknowledged == 0:
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
