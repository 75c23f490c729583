package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// Token implements [engine.Tokens].
func (s *Store) Token(ctx context.Context, digest string) (engine.TokenRecord, error) {
	found, err := get[engine.TokenRecord](ctx, s.reading, "token_records WHERE id = ?", digest)
	if err == nil && found.Digest != digest {
		return engine.TokenRecord{}, engine.CodeNotFound
	}
	return found, err
}

// Tokens implements [engine.Tokens].
func (s *Store) Tokens(ctx context.Context, projectID string, page engine.Page) ([]engine.TokenRecord, string, error) {
	return list[engine.TokenRecord](ctx, s.reading, page, "issued_at, id", "token_records WHERE project_id = ?", projectID)
}

// settlementID is the id under which a token's settlement is stored.
func settlementID(digest string) string { return digest + "/end" }

// settled is what Settle returns.
type settled struct {
	winner engine.Settlement
	won    bool
}

// Settle implements [engine.Tokens].
func (s *Store) Settle(ctx context.Context, mine engine.Settlement, rec engine.Record) (engine.Settlement, bool, error) {
	found, err := update(ctx, s, func(tx tx) (settled, error) { return tx.settle(mine, rec) })
	return found.winner, found.won, err
}

func (tx tx) settle(mine engine.Settlement, rec engine.Record) (settled, error) {
	ofToken, err := tx.expiry(mine.Digest)
	if err != nil {
		return settled{}, err
	}
	inserted, err := settlements.insert(tx, mine, ofToken)
	if err != nil {
		return settled{}, err
	}
	winner := mine
	if !inserted {
		if winner, err = get[engine.Settlement](context.Background(), tx, "download_tokens WHERE id = ?", settlementID(mine.Digest)); err != nil {
			return settled{}, err
		}
	}
	if winner.Attempt != mine.Attempt {
		return settled{winner: winner}, nil
	}
	added, err := tx.record(rec)
	if err == nil && inserted && !added { // an earlier settlement was deleted
		err = engine.CodeConflict
	}
	return settled{winner: winner, won: true}, err
}

// expiry is the column expires_at of a token, or nil if there is no such token.
func (tx tx) expiry(digest string) (any, error) {
	expiresAt, err := scan(context.Background(), tx, func(rows *sql.Rows) (at int64, err error) { return at, rows.Scan(&at) },
		"SELECT expires_at FROM download_tokens WHERE id = ?", digest)
	if err != nil || len(expiresAt) == 0 {
		return nil, err
	}
	return expiresAt[0], nil
}

// PurgeTokens implements [engine.Tokens].
func (s *Store) PurgeTokens(ctx context.Context, before time.Time, limit int) (int, error) {
	return update(ctx, s, func(tx tx) (int, error) {
		if _, err := tx.exec(purgeSettledTokens, ms(before), limit); err != nil {
			return 0, err
		}
		return tx.exec(purgeSettlements, ms(before), limit)
	})
}

// Both statements select the same settlements: the first deletes their tokens, the
// second the settlements themselves.
const (
	purgeSettledTokens = `DELETE FROM download_tokens WHERE id IN (
  SELECT substr(id, 1, length(id) - length('/end')) FROM download_tokens WHERE project_id IS NULL AND expires_at < ? ORDER BY expires_at, id LIMIT ?)`
	purgeSettlements = `DELETE FROM download_tokens WHERE id IN (
  SELECT id FROM download_tokens WHERE project_id IS NULL AND expires_at < ? ORDER BY expires_at, id LIMIT ?)`
)
