package engine

import (
	"crypto/rand"
	"strings"
	"time"
)

// Clock tells the time. Every time the domain stores comes from one, in UTC and
// cut to milliseconds, the finest unit that every store keeps.
type Clock func() time.Time

// SystemClock is the wall clock.
func SystemClock() time.Time { return NormalizeTime(time.Now()) } //nolint:forbidigo // here is the clock

// Instant brings t to the form in which the stores keep time.
func NormalizeTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// NewID makes an opaque id of 130 random bits behind a prefix that tells a
// reader what it names: "req_…", "cert_…".
func NewID(prefix string) string { return prefix + "_" + strings.ToLower(rand.Text()) }
