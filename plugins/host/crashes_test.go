//go:build !race

package host

// manyCrashes is how often plugins crash in a test.
const manyCrashes = 1000
