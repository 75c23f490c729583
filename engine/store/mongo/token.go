package mongo

import (
	"context"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// download_tokens holds two kinds of document: the token as issued, under its
// digest, and its settlement, under the digest with settlementSuffix. Only a
// settlement has the member kind.
const settlementSuffix = "/end"

// tokenDocument is a token as issued, under its digest.
type tokenDocument struct {
	ID           string `json:"id"`
	engine.Token `bson:",inline"`
}

// settlementDocument is a settlement. A token can be used once because the _id of
// its settlement can be inserted once.
type settlementDocument struct {
	ID                string `json:"id"`
	engine.Settlement `bson:",inline"`
}

var issued = bson.E{Key: "kind", Value: nil}

// Token implements engine.Tokens.
func (s *Store) Token(ctx context.Context, digest string) (engine.TokenRecord, error) {
	ids := bson.A{digest, digest + settlementSuffix}
	docs, err := findAll[bson.Raw](ctx, s.db.Collection(tokensName), bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, nil)
	if err != nil {
		return engine.TokenRecord{}, err
	}
	var record engine.TokenRecord
	for _, raw := range docs {
		if _, err := raw.LookupErr("kind"); err != nil {
			if record.Token, err = decode[engine.Token](raw); err != nil {
				return engine.TokenRecord{}, err
			}
			continue
		}
		end, err := decode[settlementDocument](raw)
		if err != nil {
			return engine.TokenRecord{}, err
		}
		record.Settlement = &end.Settlement
	}
	if record.Digest != digest {
		return engine.TokenRecord{}, engine.CodeNotFound
	}
	return record, nil
}

// withSettlements adds to each token its settlement.
func (s *Store) withSettlements(ctx context.Context, tokens []engine.Token) ([]engine.TokenRecord, error) {
	records, ids, places := []engine.TokenRecord{}, []string{}, map[string]int{}
	for i, token := range tokens {
		records = append(records, engine.TokenRecord{Token: token})
		ids = append(ids, token.Digest+settlementSuffix)
		places[token.Digest] = i
	}
	if len(ids) == 0 {
		return records, nil
	}
	ends, err := findAll[settlementDocument](ctx, s.db.Collection(tokensName), bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, nil)
	if err != nil {
		return nil, err
	}
	for _, end := range ends {
		records[places[strings.TrimSuffix(end.ID, settlementSuffix)]].Settlement = &end.Settlement
	}
	return records, nil
}

// Settle implements engine.Tokens.
func (s *Store) Settle(ctx context.Context, end engine.Settlement, rec engine.Record) (engine.Settlement, bool, error) {
	var winner settlementDocument
	err := s.change(rec, func() (bool, error) {
		var recorded bool
		var unknown error
		var looking sync.WaitGroup
		looking.Go(func() { recorded, unknown = s.audit.has(ctx, rec.Audit.Ref) })
		stored, fresh, err := s.insert(ctx, s.db.Collection(tokensName), settlementDocument{ID: end.Digest + settlementSuffix, Settlement: end})
		looking.Wait()
		if err != nil {
			return false, err
		}
		if winner, err = decode[settlementDocument](stored); err != nil || winner.Attempt != end.Attempt {
			return true, err
		}
		switch {
		case unknown != nil:
			return true, auditUnavailable(unknown)
		case fresh && recorded: // an earlier settlement was deleted
			return true, engine.CodeConflict
		}
		return true, s.record(ctx, rec)
	})
	if err != nil {
		return engine.Settlement{}, false, err
	}
	return winner.Settlement, winner.Attempt == end.Attempt, nil
}

// Tokens implements engine.Tokens.
func (s *Store) Tokens(ctx context.Context, projectID string, page engine.Page) ([]engine.TokenRecord, string, error) {
	tokens, next, err := list(ctx, s.db.Collection(tokensName), bson.D{{Key: "project_id", Value: projectID}, issued}, page, "issued_at",
		func(t engine.Token) engine.Cursor { return engine.Cursor{Time: t.IssuedAt, ID: t.Digest} })
	if err != nil {
		return nil, "", err
	}
	records, err := s.withSettlements(ctx, tokens)
	return records, next, err
}

// PurgeTokens implements engine.Tokens. It skips expired tokens that were never
// settled and reads on behind them.
func (s *Store) PurgeTokens(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.end()
	purged, last := 0, engine.Token{}
	for purged < limit {
		tokens, err := s.expired(ctx, last, before, limit-purged)
		if err != nil || len(tokens) == 0 {
			return purged, err
		}
		last = tokens[len(tokens)-1]
		records, err := s.withSettlements(ctx, tokens)
		if err != nil {
			return purged, err
		}
		ids := []string{}
		for _, r := range records {
			if r.Settlement != nil {
				ids = append(ids, r.Digest, r.Digest+settlementSuffix)
			}
		}
		// One command deletes both, in the order of the ids: a token is deleted
		// before its settlement, so it never looks unsettled again.
		if _, err := deleteByID(ctx, s.db.Collection(tokensName), ids); err != nil {
			return purged, err
		}
		purged += len(ids) / 2
	}
	return purged, nil
}

// expired returns tokens that expired before a time, in the order of expiry. It
// begins with the one after last.
func (s *Store) expired(ctx context.Context, last engine.Token, before time.Time, limit int) ([]engine.Token, error) {
	filter := bson.D{{Key: "expires_at", Value: bson.D{{Key: "$gte", Value: last.ExpiresAt}, {Key: "$lt", Value: before}}}}
	if last.Digest != "" {
		filter = append(filter, bson.E{Key: "$or", Value: bson.A{
			bson.D{{Key: "expires_at", Value: bson.D{{Key: "$gt", Value: last.ExpiresAt}}}},
			bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: last.Digest}}}},
		}})
	}
	order := bson.D{{Key: "expires_at", Value: 1}, {Key: "_id", Value: 1}}
	return findAll[engine.Token](ctx, s.db.Collection(tokensName), filter, options.Find().SetSort(order).SetLimit(int64(limit)))
}
