package mongo_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/event"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
)

// walks are the commands that may read a collection without an index, by collection:
// there are few nodes, and few entries that wait for their number.
var walks = []string{"nodes", "audit_waiting", "schema", "data_keys"}

// shape is a command without its values: two commands of a shape have the same plan.
type shape struct {
	collection string
	equal      []string // members that have one value or one of a list, sorted
	within     []string // members that are in a range, sorted
	order      []string // as in an index, "-" for descending
}

func (s shape) String() string {
	return fmt.Sprintf("%s: equal %v, within %v, in the order %v", s.collection, s.equal, s.within, s.order)
}

// shapes collects what a store sends.
type shapes struct {
	mu     sync.Mutex
	seen   map[string]shape
	ignore bool
}

// observed is a store whose commands are collected, but for those of the check of the
// columns and of migrations, which read whole collections.
type observed struct {
	*mongo.Store
	shapes *shapes
}

func (o observed) Misplaced(ctx context.Context, projectID string) ([]engine.Disagreement, error) {
	o.shapes.ignoring(true)
	defer o.shapes.ignoring(false)
	return o.Store.Misplaced(ctx, projectID)
}

func (o observed) CompleteDocuments(ctx context.Context) error {
	o.shapes.ignoring(true)
	defer o.shapes.ignoring(false)
	return o.Store.CompleteDocuments(ctx)
}

func (s *shapes) ignoring(ignore bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ignore = ignore
}

func (s *shapes) started(_ context.Context, e *event.CommandStartedEvent) {
	collection, ok := e.Command.Lookup(e.CommandName).StringValueOK()
	if !ok {
		return
	}
	var filters []bson.Raw
	var order bson.Raw
	switch e.CommandName {
	case "find":
		filters = append(filters, e.Command.Lookup("filter").Document())
		order, _ = e.Command.Lookup("sort").DocumentOK()
	case "aggregate": // a count
		filters = append(filters, e.Command.Lookup("pipeline", "0", "$match").Document())
	case "findAndModify":
		filters = append(filters, e.Command.Lookup("query").Document())
	case "update", "delete":
		changes, _ := e.Command.Lookup(e.CommandName + "s").Array().Values()
		for _, change := range changes {
			filters = append(filters, change.Document().Lookup("q").Document())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, filter := range filters {
		for _, part := range alternatives(filter) {
			if of := shapeOf(collection, part, order); !s.ignore {
				s.seen[of.String()] = of
			}
		}
	}
}

// alternatives are the parts of a filter that is a list of them, each of which needs an
// index of its own.
func alternatives(filter bson.Raw) []bson.Raw {
	members, _ := filter.Elements()
	if len(members) != 1 || members[0].Key() != "$or" {
		return []bson.Raw{filter}
	}
	var parts []bson.Raw
	values, _ := members[0].Value().Array().Values()
	for _, v := range values {
		parts = append(parts, v.Document())
	}
	return parts
}

func shapeOf(collection string, filter, order bson.Raw) shape {
	s := shape{collection: collection}
	members, _ := filter.Elements()
	for _, m := range members {
		condition, isDocument := m.Value().DocumentOK()
		operators, _ := condition.Elements()
		switch {
		case strings.HasPrefix(m.Key(), "$"): // it narrows what the other members select
		case isDocument && len(operators) > 0 && operators[0].Key() != "$eq" && operators[0].Key() != "$in":
			s.within = append(s.within, m.Key())
		default:
			s.equal = append(s.equal, m.Key())
		}
	}
	slices.Sort(s.equal)
	slices.Sort(s.within)
	sorted, _ := order.Elements()
	for _, m := range sorted {
		name := m.Key()
		if slices.Contains(s.equal, name) {
			continue
		}
		if m.Value().AsInt64() < 0 {
			name = "-" + name
		}
		s.order = append(s.order, name)
	}
	return s
}

// servedBy reports whether an index serves a command: the filter says which values its first
// members have, and then come the members of the order, from either end. MongoDB merges
// the parts of an index that belong to the values of a list. Without an order, the first
// member may be in a range.
func (s shape) servedBy(members []string) bool {
	n := 0
	for n < len(members) && slices.Contains(s.equal, strings.TrimPrefix(members[n], "-")) {
		n++
	}
	rest := members[n:]
	if len(s.order) == 0 {
		return n > 0 || slices.Contains(s.within, strings.TrimPrefix(members[0], "-"))
	}
	if len(rest) < len(s.order) {
		return false
	}
	backwards := make([]string, len(s.order))
	for i, m := range rest[:len(s.order)] {
		if name, descending := strings.CutPrefix(m, "-"); descending {
			backwards[i] = name
		} else {
			backwards[i] = "-" + m
		}
	}
	return slices.Equal(rest[:len(s.order)], s.order) || slices.Equal(backwards, s.order)
}

// monitored opens a store whose commands are collected.
func (s *shapes) monitored(t *testing.T, uri string) engine.Store {
	t.Helper()
	store, err := mongo.OpenMonitored(t.Context(), uri, mongo.Credential{}, &event.CommandMonitor{Started: s.started})
	noError(t, err)
	t.Cleanup(func() { noError(t, store.Close()) })
	return observed{store, s}
}

// served fails for each kind of command that no index serves, or whose result the server
// would have to sort.
func (s *shapes) served(t *testing.T) {
	t.Helper()
	byCollection := map[string][][]string{}
	for _, i := range mongo.Indexes() {
		byCollection[i.Collection] = append(byCollection[i.Collection], i.Members)
	}
	for _, name := range slices.Sorted(maps.Keys(s.seen)) {
		of := s.seen[name]
		indexes := append(byCollection[of.collection], []string{"_id"})
		if !slices.Contains(walks, of.collection) && !slices.ContainsFunc(indexes, of.servedBy) {
			t.Errorf("no index serves %s", name)
		}
	}
	if len(s.seen) == 0 {
		t.Error("no command was seen")
	}
}
