//go:build !failpoint

// Package failpoint marks the places at which a test kills the process, to show
// that a crash there loses nothing. Without the build tag "failpoint" the calls do
// nothing.
package failpoint

// Hit marks a place at which a test can kill the process.
func Hit(string) {}
