//go:build !race

package host

// How much the longest tests try.
const (
	// manyCrashes is how often plugins crash.
	manyCrashes = 1000
	// roundsAnAttack is how often every other format is rendered during each attack.
	roundsAnAttack = 10
)
