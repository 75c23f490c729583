package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// Token implements [engine.Tokens].
func (s *Store) Token(ctx context.Context, digest string) (engine.TokenRecord, error) {
	return get[engine.TokenRecord](ctx, s.reading, "token_records WHERE id = ?", digest)
}

// Tokens implements [engine.Tokens].
func (s *Store) Tokens(ctx context.Context, projectID string, page engine.Page) ([]engine.TokenRecord, string, error) {
	return list[engine.TokenRecord](ctx, s.reading, page, "token_records WHERE project = ?", projectID)
}

// end is the id under which a token's settlement is stored.
func end(digest string) string { return digest + "/end" }

// outcome is what Settle found.
type outcome struct {
	winner engine.Settlement
	won    bool
}

// Settle implements [engine.Tokens].
func (s *Store) Settle(ctx context.Context, mine engine.Settlement, rec engine.Record) (engine.Settlement, bool, error) {
	found, err := update(ctx, s, func(tx tx) (outcome, error) { return tx.settle(mine, rec) })
	return found.winner, found.won, err
}

func (tx tx) settle(mine engine.Settlement, rec engine.Record) (outcome, error) {
	first, err := get[engine.Settlement](context.Background(), tx, "download_tokens WHERE id = ?", end(mine.Digest))
	switch {
	case err == nil && first.Attempt != mine.Attempt:
		return outcome{winner: first}, nil
	case err == nil:
		return outcome{winner: first, won: true}, tx.record(rec)
	case !errors.Is(err, engine.ErrNotFound):
		return outcome{}, err
	}
	expires := mine.Time // of a token that is not there, so that its settlement is purged too
	if token, err := get[engine.Token](context.Background(), tx, "download_tokens WHERE id = ?", mine.Digest); err == nil {
		expires = token.ExpiresAt
	} else if !errors.Is(err, engine.ErrNotFound) {
		return outcome{}, err
	}
	if err := tx.create("download_tokens", "id, expires", mine, end(mine.Digest), ms(expires)); err != nil {
		return outcome{}, err
	}
	return outcome{winner: mine, won: true}, tx.record(rec)
}

// PurgeTokens implements [engine.Tokens].
func (s *Store) PurgeTokens(ctx context.Context, before time.Time, limit int) (int, error) {
	return update(ctx, s, func(tx tx) (int, error) {
		if _, err := tx.exec(purgeIssued, ms(before), limit); err != nil {
			return 0, err
		}
		return tx.exec(purgeEnds, ms(before), limit)
	})
}

// Both find the same settlements: the token of each goes, then each itself.
const (
	purgeIssued = `DELETE FROM download_tokens WHERE id IN (
  SELECT substr(id, 1, length(id) - length('/end')) FROM download_tokens WHERE expires < ? ORDER BY expires, id LIMIT ?)`
	purgeEnds = `DELETE FROM download_tokens WHERE id IN (
  SELECT id FROM download_tokens WHERE expires < ? ORDER BY expires, id LIMIT ?)`
)
