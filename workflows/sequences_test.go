//go:build !race

package workflows

// sequences is how many random ones a run tries.
const sequences = 2000
