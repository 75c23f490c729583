//go:build failpoint

// Package failpoint kills the process at a named place, as a power cut would.
package failpoint

import (
	"os"
	"syscall"
)

// Hit kills the process if COUNTERSIGN_FAILPOINT names this place.
func Hit(name string) {
	if os.Getenv("COUNTERSIGN_FAILPOINT") == name {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // an error cannot be reported
		select {}
	}
}
