//go:build race

package workflows

// sequences is how many random ones a run tries; the race detector slows each
// tenfold.
const sequences = 100
