package engine

import (
	"crypto/rand"
	"strings"
	"time"
)

// Clock returns the current time in UTC, truncated to milliseconds, the finest unit
// that every store keeps. Every stored time comes from one.
type Clock func() time.Time

// SystemClock is the wall clock.
func SystemClock() time.Time { return NormalizeTime(time.Now()) } //nolint:forbidigo // here is the clock

// NormalizeTime converts t to the form in which stores keep times.
func NormalizeTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// NewID makes an opaque id: a prefix that says what it names ("req_…", "cert_…") and
// 130 random bits.
func NewID(prefix string) string { return prefix + "_" + strings.ToLower(rand.Text()) }
