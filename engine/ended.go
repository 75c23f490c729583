package engine

import "sync"

// maxEndedTokens bounds how many ended tokens a process remembers, some 2 KiB each.
const maxEndedTokens = 4096

// endedTokens remembers tokens that have ended. An end is final, so a caller who asks for
// such a token again and again costs the database nothing. The zero value is ready to use.
type endedTokens struct {
	mu       sync.Mutex
	byDigest map[string]TokenRecord
}

func (e *endedTokens) get(digest string) (t TokenRecord, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok = e.byDigest[digest]
	return t, ok
}

// add remembers a token, if it has ended. When there is no more room, all others are
// forgotten, and read once more.
func (e *endedTokens) add(t TokenRecord) {
	if t.Settlement == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byDigest == nil || len(e.byDigest) >= maxEndedTokens {
		e.byDigest = map[string]TokenRecord{}
	}
	e.byDigest[t.Digest] = t
}
