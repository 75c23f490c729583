//go:build !race

package host

// roundsAnAttack is how often every other format is rendered during each attack.
const roundsAnAttack = 10
