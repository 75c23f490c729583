package mongo

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// CreateSession implements engine.Sessions.
func (s *Store) CreateSession(ctx context.Context, session engine.Session, rec engine.Record) error {
	return s.create(ctx, s.db.Collection(sessionsName), session, rec)
}

// Session implements engine.Sessions.
func (s *Store) Session(ctx context.Context, id string) (engine.Session, error) {
	return find[engine.Session](ctx, s.db.Collection(sessionsName), append(byID(id), notRemoved))
}

// TouchSession implements engine.Sessions.
func (s *Store) TouchSession(ctx context.Context, id string, at time.Time) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	seen := bson.D{{Key: "$max", Value: bson.D{{Key: "seen_at", Value: at}}}}
	if _, err := s.db.Collection(sessionsName).UpdateOne(ctx, byID(id), seen); err != nil {
		return fault("touch session", err)
	}
	return nil
}

// EndSession implements engine.Sessions.
func (s *Store) EndSession(ctx context.Context, id string, rec engine.Record) error {
	return s.remove(ctx, s.db.Collection(sessionsName), byID(id), rec)
}

// SessionsOf implements engine.Sessions.
func (s *Store) SessionsOf(ctx context.Context, userID string, page engine.Page) ([]engine.Session, string, error) {
	return list(ctx, s.db.Collection(sessionsName), append(bson.D{{Key: "user_id", Value: userID}}, notRemoved), page, "expires_at",
		func(session engine.Session) engine.Cursor {
			return engine.Cursor{Time: session.ExpiresAt, ID: session.ID}
		})
}

// PurgeSessions implements engine.Sessions.
func (s *Store) PurgeSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.end()
	c := s.db.Collection(sessionsName)
	old, err := findAll[engine.Session](ctx, c, bson.D{{Key: "expires_at", Value: bson.D{{Key: "$lt", Value: before}}}},
		options.Find().SetSort(bson.D{{Key: "expires_at", Value: 1}}).SetLimit(int64(limit)))
	if err != nil {
		return 0, err
	}
	ids := make([]string, 0, len(old))
	for _, session := range old {
		ids = append(ids, session.ID)
	}
	return deleteByID(ctx, c, ids)
}
