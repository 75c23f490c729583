package mongo_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
	"github.com/countersign-dev/countersign/engine/store/storetest"
)

func TestForwardingPositions(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, _ := s.database(t)
		storetest.ForwardingPositions(t, open(t, uri), true)
	})
}

// inbox is a receiver that acknowledges everything.
type inbox struct {
	mu  sync.Mutex
	got []engine.AuditEntry
}

func (in *inbox) Receive(_ context.Context, entries []engine.AuditEntry) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.got = append(in.got, entries...)
	return nil
}

func (*inbox) String() string { return "inbox" }

// Of two nodes one sends at a time. The other one goes on where it ended, and knows
// meanwhile how late the receiver is.
func TestNodesSendInTurn(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, _ := s.database(t)
		store := open(t, uri)
		if err := store.UseAuditKey(t.Context(), []byte("key")); err != nil {
			t.Fatal(err)
		}
		in := &inbox{}
		nodes, stop := map[string]*engine.Forwarding{}, map[string]func(){}
		for _, name := range []string{"a", "b"} {
			f := &engine.Forwarding{Name: "inbox", Receiver: in, Positions: store, Store: store, Node: name, Clock: engine.SystemClock, Log: slog.New(slog.DiscardHandler)}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); f.Run(ctx) }()
			nodes[name], stop[name] = f, func() { cancel(); <-ended }
			defer stop[name]()
		}
		written := 0
		received := func() bool {
			in.mu.Lock()
			defer in.mu.Unlock()
			return len(in.got) == written
		}
		write(t, store, &written)
		await(t, received)
		first, second := "a", "b"
		if nodes["b"].Status().Sent > 0 {
			first, second = "b", "a"
		}
		if nodes[second].Status().Sent > 0 {
			t.Errorf("both nodes sent: %+v, %+v", nodes["a"].Status(), nodes["b"].Status())
		}
		stop[first]()
		write(t, store, &written)
		await(t, received)
		for i, e := range in.got {
			if e.Seq != int64(i+1) || e.Hash == "" {
				t.Errorf("in place %d, number %d was received", i+1, e.Seq)
			}
		}
	})
}

// write appends entries to a chain.
func write(t *testing.T, store *mongo.Store, written *int) {
	t.Helper()
	for range 250 { // more than one batch
		*written++
		err := store.Append(t.Context(), engine.AuditEntry{
			Ref: fmt.Sprint(*written), ProjectID: engine.SystemChain, Time: time.Now(), Action: "test", Outcome: engine.AuditSuccess, Actor: engine.System,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func await(t *testing.T, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !met(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a minute has passed")
		}
	}
}
