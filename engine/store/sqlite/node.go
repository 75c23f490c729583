package sqlite

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/countersign-dev/countersign/engine"
)

// PutNode implements [engine.NodeStore]. Only one process uses a database, so nodes are
// kept in its memory.
func (s *Store) PutNode(_ context.Context, n engine.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes == nil {
		s.nodes = map[string]engine.Node{}
	}
	s.nodes[n.ID] = n
	return nil
}

// Nodes implements [engine.NodeStore].
func (s *Store) Nodes(context.Context) ([]engine.Node, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.SortedFunc(maps.Values(s.nodes), func(a, b engine.Node) int { return cmp.Compare(a.ID, b.ID) }), nil
}

// RemoveNode implements [engine.NodeStore].
func (s *Store) RemoveNode(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, id)
	return nil
}
