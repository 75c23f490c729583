package stream

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// chains are chains of downloads, with counts of what is read of them.
type chains struct {
	entries map[string][]engine.AuditEntry
	reads   map[string]int // by method
}

func (c *chains) add(chain, action, person string) {
	seq := int64(len(c.entries[chain])) + 1
	c.entries[chain] = append(c.entries[chain], engine.AuditEntry{
		ProjectID: chain, Seq: seq, Action: action, Outcome: engine.AuditSuccess, RequestID: fmt.Sprint("req_", chain, seq),
		Actor: engine.Actor{Person: person}, Detail: map[string]string{"status": "issued"},
	})
}

func (c *chains) AuditNews(_ context.Context, after map[string]int64, limit int) (news []engine.AuditEntry, err error) {
	c.reads["AuditNews"]++
	for chain, seq := range after {
		news = append(news, c.entries[chain][seq:]...)
	}
	return news[:min(limit, len(news))], nil
}

func (c *chains) AuditAfter(_ context.Context, chain string, seq int64, limit int) ([]engine.AuditEntry, error) {
	c.reads["AuditAfter "+chain]++
	found := c.entries[chain][seq:]
	return found[:min(limit, len(found))], nil
}

func (c *chains) AuditEntries(_ context.Context, q engine.AuditQuery) ([]engine.AuditEntry, string, error) {
	all := c.entries[q.ProjectID]
	return all[max(0, len(all)-1):], "", nil
}

func (c *chains) Request(context.Context, string, string) (engine.Request, error) {
	c.reads["Request"]++
	return engine.Request{}, engine.CodeNotFound
}

// What is read does not grow with the number of projects and streams.
func TestOneReadServesAllStreams(t *testing.T) {
	var want map[string]int
	for _, streams := range []int{1, 3 * maxStreams} {
		c := &chains{entries: map[string][]engine.AuditEntry{}, reads: map[string]int{}}
		h := New(c, engine.SystemClock, slog.New(slog.DiscardHandler), Pace{Poll: 1 << 40})
		var feeds []*feed
		for i := range streams {
			f, leave, err := h.join(fmt.Sprint("person", i), fmt.Sprint("p", i%7), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer leave()
			feeds = append(feeds, f)
		}
		system, err := h.catchUp(t.Context(), -1)
		if err != nil {
			t.Fatal(err)
		}
		for i := range min(7, streams) {
			c.add(fmt.Sprint("p", i), engine.ActionDownloadRequested, "ann")
		}
		if _, err := h.catchUp(t.Context(), system); err != nil {
			t.Fatal(err)
		}
		for _, f := range feeds {
			if found, to, _, _ := f.after(0); len(found) != 1 || to != 1 || found[0].requester != "ann" {
				t.Errorf("%s has %+v up to %d", f.project, found, to)
			}
		}
		if want == nil {
			want = c.reads
		}
		if !maps.Equal(c.reads, want) {
			t.Errorf("%d streams: %v was read, for one %v", streams, c.reads, want)
		}
	}
}

// The system chain is read to its end before a stream gets an event that was read
// before: the rights that changed in between count.
func TestRightsAreNotedBeforeEvents(t *testing.T) {
	for action, concerned := range map[string]map[string]bool{
		engine.ActionUserChanged:              {"ann": true, "bob": true},
		engine.ActionAPIKeyRevoked:            {"ann": true, "bob": true},
		engine.ActionPasswordSet:              {"ann": true},
		engine.ActionSessionClosed:            {"ann": true},
		engine.ActionSessionsClosedEverywhere: {"ann": true},
		engine.ActionSessionOpened:            {},
		engine.ActionLoginFailed:              {},
	} {
		c := &late{chains: chains{entries: map[string][]engine.AuditEntry{}, reads: map[string]int{}}, action: action}
		h := New(c, engine.SystemClock, slog.New(slog.DiscardHandler), Pace{Poll: 1 << 40})
		moment := h.rights.now()
		for _, person := range []string{"ann", "bob"} {
			_, leave, err := h.join(person, "p", 0)
			if err != nil {
				t.Fatal(err)
			}
			defer leave()
		}
		c.add("p", engine.ActionDownloadRequested, "ann")
		if _, err := h.catchUp(t.Context(), -1); err != nil {
			t.Fatal(err)
		}
		for _, person := range []string{"ann", "bob"} {
			if got := h.rights.changedSince(moment, person); got != concerned[person] {
				t.Errorf("%s of ann: the rights of %s changed: %v", action, person, got)
			}
		}
	}
}

// late are chains whose system chain gets an entry while news are read.
type late struct {
	chains
	action string
}

func (l *late) AuditNews(ctx context.Context, after map[string]int64, limit int) ([]engine.AuditEntry, error) {
	news, err := l.chains.AuditNews(ctx, after, limit)
	if len(l.entries[engine.SystemChain]) == 0 {
		l.add(engine.SystemChain, l.action, "ann")
	}
	return news, err
}
