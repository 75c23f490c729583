package engine

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxEndedTokens bounds how many ended tokens a process remembers, some 2 KiB each.
const maxEndedTokens = 4096

// endedTokens remembers tokens that have ended. An end is final, so a caller who asks for
// such a token again and again costs the database nothing. The zero value is ready to use.
type endedTokens struct {
	mu     sync.Mutex
	recent *simplelru.LRU[string, TokenRecord]
}

func (e *endedTokens) get(digest string) (TokenRecord, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.recent == nil {
		return TokenRecord{}, false
	}
	return e.recent.Get(digest)
}

// add remembers a token, if it has ended.
func (e *endedTokens) add(t TokenRecord) {
	if t.Settlement == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.recent == nil {
		e.recent, _ = simplelru.NewLRU[string, TokenRecord](maxEndedTokens, nil) // it fails only if the size is not positive
	}
	e.recent.Add(t.Digest, t)
}
