package declaration

import (
	"strings"
	"unicode"
)

// Printable returns the text without control characters, cut to a number of
// bytes. What a plugin says then cannot start a line of its own in a log, nor
// fill the log.
func Printable(text string, maxBytes int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text[:min(len(text), maxBytes)], ""))
	return strings.TrimSpace(text)
}

// isLine reports whether the text is one printable line of at most maxBytes.
func isLine(text string, maxBytes int) bool {
	return len(text) <= maxBytes && Printable(text, maxBytes) == text
}
