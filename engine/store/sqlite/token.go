package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
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
	text, err := json.Marshal(mine)
	if err != nil {
		return outcome{}, fmt.Errorf("encode settlement: %w", err)
	}
	n, err := tx.exec(insertEnd, end(mine.Digest), mine.Digest, ms(mine.Time), string(text))
	if err != nil {
		return outcome{}, err
	}
	winner := mine
	if n == 0 {
		if winner, err = get[engine.Settlement](context.Background(), tx, "download_tokens WHERE id = ?", end(mine.Digest)); err != nil {
			return outcome{}, err
		}
	}
	if winner.Attempt != mine.Attempt {
		return outcome{winner: winner}, nil
	}
	return outcome{winner: winner, won: true}, tx.record(rec)
}

// insertEnd takes over when the token expires. The settlement of a token that is
// not there counts from its own time, so that it is purged too.
const insertEnd = `INSERT INTO download_tokens (id, expires, doc)
  VALUES (?, coalesce((SELECT expires FROM download_tokens WHERE id = ?), ?), ?) ON CONFLICT DO NOTHING`

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
  SELECT substr(id, 1, length(id) - length('/end')) FROM download_tokens WHERE project IS NULL AND expires < ? ORDER BY expires, id LIMIT ?)`
	purgeEnds = `DELETE FROM download_tokens WHERE id IN (
  SELECT id FROM download_tokens WHERE project IS NULL AND expires < ? ORDER BY expires, id LIMIT ?)`
)
