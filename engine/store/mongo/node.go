package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// maxNodes is how many nodes are listed at most.
const maxNodes = 1000

// PutNode implements engine.NodeStore.
func (s *Store) PutNode(ctx context.Context, n engine.Node) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	raw, err := encode(n)
	if err != nil {
		return err
	}
	if _, err := s.db.Collection(nodesName).ReplaceOne(ctx, byID(n.ID), raw, options.Replace().SetUpsert(true)); err != nil {
		return fault("write into "+nodesName, err)
	}
	return nil
}

// Nodes implements engine.NodeStore.
func (s *Store) Nodes(ctx context.Context) ([]engine.Node, error) {
	return findAll[engine.Node](ctx, s.db.Collection(nodesName), bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(maxNodes))
}

// RemoveNode implements engine.NodeStore.
func (s *Store) RemoveNode(ctx context.Context, id string) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	_, err := deleteByID(ctx, s.db.Collection(nodesName), []string{id})
	return err
}
