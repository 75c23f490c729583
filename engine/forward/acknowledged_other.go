//go:build !linux

package forward

import (
	"context"
	"net"
)

// readWhole cannot find out here whether the other side read everything.
func readWhole(context.Context, net.Conn) error { return nil }
