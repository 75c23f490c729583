package engine

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Node is one process of an installation, as it described itself at SeenAt. Settings
// are those that must be the same on all nodes, by name.
type Node struct {
	ID       string            `json:"id"`
	Host     string            `json:"host"`
	SeenAt   time.Time         `json:"seen_at"`
	Settings map[string]string `json:"settings"`
}

// Alive reports whether the node was seen lately.
func (n Node) Alive(now time.Time) bool { return now.Sub(n.SeenAt) < nodeLife }

// NodeStore keeps what the nodes of an installation say of themselves.
type NodeStore interface {
	// PutNode stores a node in place of what it said before.
	PutNode(ctx context.Context, n Node) error
	// Nodes lists the nodes by id.
	Nodes(ctx context.Context) ([]Node, error)
	RemoveNode(ctx context.Context, id string) error
}

const (
	nodeInterval = 30 * time.Second
	nodeLife     = 3 * nodeInterval // a node that was not seen for so long has ended
	nodeKept     = 24 * time.Hour   // and is then removed
	removeWithin = 2 * time.Second
	// clockTolerance is how far a node's clock may be ahead of another's.
	clockTolerance = 2 * time.Second
)

// Nodes finds out which nodes an installation has, and in what they differ from this
// one. Start with Run. The exported fields must be set; Settings returns this node's
// settings of the moment.
type Nodes struct {
	Store    NodeStore
	ID, Host string
	Settings func() map[string]string
	Clock    Clock
	Log      *slog.Logger

	mu     sync.Mutex
	others []NodeDifference
}

// NodeDifference is another node, with the names of the settings that it has
// otherwise; "clock" means that its clock is ahead of this node's.
type NodeDifference struct {
	Node
	Differs []string
}

// Others returns the other nodes as they were last compared.
func (n *Nodes) Others() []NodeDifference {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.others)
}

// Run compares the nodes until ctx ends, and then removes this one.
func (n *Nodes) Run(ctx context.Context) {
	for {
		if err := n.Compare(ctx); err != nil && ctx.Err() == nil {
			n.Log.WarnContext(ctx, "the nodes of this installation could not be compared", "error", err)
		}
		select {
		case <-time.After(rand.N(2 * nodeInterval)): //nolint:gosec // no secret: it keeps nodes from looking at each other always equally late
			continue
		case <-ctx.Done():
		}
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
		defer cancel()
		if err := n.Store.RemoveNode(ending, n.ID); err != nil {
			n.Log.WarnContext(ctx, "this node could not be removed from the list of nodes; the others see it for a moment longer", "error", err)
		}
		return
	}
}

// Compare stores what this node has to say, and compares it with the other nodes. It
// logs each difference once.
func (n *Nodes) Compare(ctx context.Context) error {
	now := n.Clock()
	self := Node{ID: n.ID, Host: n.Host, SeenAt: now, Settings: n.Settings()}
	if err := n.Store.PutNode(ctx, self); err != nil {
		return err
	}
	all, err := n.Store.Nodes(ctx)
	if err != nil {
		return err
	}
	var others []NodeDifference
	for _, other := range all {
		switch age := now.Sub(other.SeenAt); {
		case other.ID == n.ID:
		case age < nodeLife:
			others = append(others, NodeDifference{other, self.differs(other)})
		case age > nodeKept:
			if err := n.Store.RemoveNode(ctx, other.ID); err != nil {
				return err
			}
		}
	}
	n.mu.Lock()
	before := n.others
	n.others = others
	n.mu.Unlock()
	for _, other := range others {
		known := slices.ContainsFunc(before, func(b NodeDifference) bool { return b.ID == other.ID && slices.Equal(b.Differs, other.Differs) })
		if len(other.Differs) > 0 && !known {
			n.Log.WarnContext(ctx, "another node has other settings than this one; give all nodes the same", "node", other.ID, "host", other.Host, "settings", other.Differs)
		}
	}
	return nil
}

// differs names what another node has otherwise.
func (n Node) differs(other Node) []string {
	names := map[string]bool{}
	for name := range n.Settings {
		names[name] = true
	}
	for name := range other.Settings {
		names[name] = true
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { return n.Settings[name] == other.Settings[name] })
	if other.SeenAt.Sub(n.SeenAt) > clockTolerance {
		names["clock"] = true
	}
	return slices.Sorted(maps.Keys(names))
}
