//go:build race

package host

// roundsAnAttack is how often every other format is rendered during each attack;
// the race detector slows each start threefold.
const roundsAnAttack = 2
