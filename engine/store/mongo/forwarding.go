package mongo

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// forwardedDocument is how far one receiver has one chain.
type forwardedDocument struct {
	ID               string `json:"id"` // receiver/chain
	Receiver         string `json:"receiver"`
	Chain            string `json:"chain"`
	engine.AuditHead `bson:",inline"`
}

func forwardedID(receiver, chain string) string { return receiver + "/" + chain }

type turnDocument struct {
	ID                    string `json:"id"` // the receiver
	engine.ForwardingTurn `bson:",inline"`
}

// TakeForwardingTurn implements [engine.ForwardingPositions]. If the turn is another
// node's, the filter finds nothing and the insertion instead meets its document.
func (s *Store) TakeForwardingTurn(ctx context.Context, want engine.ForwardingTurn, now time.Time) (engine.ForwardingTurn, error) {
	if err := s.begin(); err != nil {
		return want, err
	}
	defer s.end()
	c := s.db.Collection(turnsName)
	change := bson.D{
		{Key: "$set", Value: bson.D{{Key: "receiver", Value: want.Receiver}, {Key: "node", Value: want.Node}, {Key: "until", Value: want.Until}}},
		{Key: "$max", Value: bson.D{{Key: "caught_up", Value: want.CaughtUp}}},
	}
	free := append(byID(want.Receiver), bson.E{Key: "$or", Value: bson.A{
		bson.D{{Key: "node", Value: want.Node}}, bson.D{{Key: "until", Value: bson.D{{Key: "$lte", Value: now}}}},
	}})
	if _, err := c.UpdateOne(ctx, free, change, options.Update().SetUpsert(true)); err != nil && !driver.IsDuplicateKeyError(err) {
		return want, fault("write into "+turnsName, err)
	}
	turn, err := find[turnDocument](ctx, c, byID(want.Receiver))
	return turn.ForwardingTurn, err
}

// Forwarded implements [engine.ForwardingPositions].
func (s *Store) Forwarded(ctx context.Context, receiver string) (map[string]engine.AuditHead, error) {
	docs, err := findAll[forwardedDocument](ctx, s.db.Collection(forwardedName), bson.D{{Key: "receiver", Value: receiver}}, options.Find())
	heads := map[string]engine.AuditHead{}
	for _, d := range docs {
		heads[d.Chain] = d.AuditHead
	}
	return heads, err
}

// SetForwarded implements [engine.ForwardingPositions].
func (s *Store) SetForwarded(ctx context.Context, receiver string, heads map[string]engine.AuditHead) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	for chain, head := range heads {
		raw, err := encode(forwardedDocument{forwardedID(receiver, chain), receiver, chain, head})
		if err != nil {
			return err
		}
		before := append(byID(forwardedID(receiver, chain)), bson.E{Key: "seq", Value: bson.D{{Key: "$lte", Value: head.Seq}}})
		_, err = s.db.Collection(forwardedName).ReplaceOne(ctx, before, raw, options.Replace().SetUpsert(true))
		if err != nil && !driver.IsDuplicateKeyError(err) { // which says that a later one is stored
			return fault("write into "+forwardedName, err)
		}
	}
	return nil
}

// ForgetForwarded implements [engine.ForwardingPositions].
func (s *Store) ForgetForwarded(ctx context.Context, receiver, chain string) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	_, err := deleteByID(ctx, s.db.Collection(forwardedName), []string{forwardedID(receiver, chain)})
	return err
}
