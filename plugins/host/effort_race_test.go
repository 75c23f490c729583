//go:build race

package host

// How much the longest tests try; the race detector slows each start threefold.
const (
	// manyCrashes is how often plugins crash.
	manyCrashes = 200
	// roundsAnAttack is how often every other format is rendered during each attack.
	roundsAnAttack = 2
)
