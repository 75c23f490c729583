package api_test

import (
	"bufio"
	"context"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/stream"
	"github.com/countersign-dev/countersign/engine"
)

// countingStore counts the reads by which rights are checked and events are made.
type countingStore struct {
	engine.Store
	mu    sync.Mutex
	reads map[string]int
}

func (c *countingStore) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads[what]++
}

// taken are the counts since the last call.
func (c *countingStore) taken() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.reads
	c.reads = map[string]int{}
	return taken
}

func (c *countingStore) APIKeyBySecret(ctx context.Context, digest string) (engine.APIKey, error) {
	c.count("key")
	return c.Store.APIKeyBySecret(ctx, digest)
}

func (c *countingStore) User(ctx context.Context, id string) (engine.User, error) {
	c.count("user")
	return c.Store.User(ctx, id)
}

func (c *countingStore) Member(ctx context.Context, project, user string) (engine.Member, error) {
	c.count("member")
	return c.Store.Member(ctx, project, user)
}

func (c *countingStore) Project(ctx context.Context, id string) (engine.Project, error) {
	c.count("project")
	return c.Store.Project(ctx, id)
}

func (c *countingStore) Request(ctx context.Context, project, id string) (engine.Request, error) {
	c.count("request")
	return c.Store.Request(ctx, project, id)
}

// What a mint reads does not grow with the number of open streams, each of which gets
// the mint's event.
func TestStreamsCostAMintNothing(t *testing.T) {
	const mints = 5
	f := newFixture(t)
	store := &countingStore{Store: f.store, reads: map[string]int{}}
	f.store, f.authentication.Store = store, store
	f.beside(stream.Pace{Poll: 5 * time.Millisecond, Heartbeat: time.Hour})
	var streams []*bufio.Reader
	for _, as := range []string{"admin", "approver", "another", "operator"} {
		for range 8 {
			r := bufio.NewReader(f.openStream(as, "").Body)
			block(t, r)
			streams = append(streams, r)
		}
	}
	mint := func(n int) map[string]int {
		for range n {
			f.mint("operator", "shop", `{"format":"cert"}`)
		}
		for _, r := range streams {
			for range n {
				if text := block(t, r); !strings.Contains(text, "event: request.updated") {
					t.Fatalf("the stream sent %q", text)
				}
			}
		}
		return store.taken()
	}
	mint(1) // before its first event, each stream reads its caller's rights
	if got, want := mint(mints), map[string]int{"key": mints, "user": mints, "member": mints, "project": mints}; !maps.Equal(got, want) {
		t.Errorf("%d mints with %d streams read %v, want %v", mints, len(streams), got, want)
	}
}
