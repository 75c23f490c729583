//go:build race

package host

// manyCrashes is how often plugins crash in a test; the race detector slows each
// start threefold.
const manyCrashes = 200
