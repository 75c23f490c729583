//go:build !failpoint

// Package failpoint names the places at which a test kills the process, to show
// that a crash there loses nothing. In a build without the tag "failpoint" the
// calls are empty and vanish.
package failpoint

// Hit marks a place.
func Hit(string) {}
