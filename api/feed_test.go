package api

import (
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// What a feed gives out in parts is what happened, once each and in order, as
// far back as it remembers.
func TestFeedWindow(t *testing.T) {
	f := &feed{grown: make(chan struct{}), from: 10, head: 10}
	if _, _, _, known := f.after(9); known {
		t.Fatal("it knows what was before it")
	}
	_, to, grown, known := f.after(10)
	if !known || to != 10 {
		t.Fatalf("at its head it gave %d, %v", to, known)
	}
	f.grow(nil, 11)
	select {
	case <-grown:
	default:
		t.Fatal("its streams were not woken")
	}
	if found, to, _, _ := f.after(20); len(found) != 0 || to != 20 {
		t.Fatalf("a stream ahead of it was given %v up to %d", found, to)
	}
	head := int64(11)
	for range 3 * feedWindow / 2 {
		head += 2 // every other entry is no event
		f.grow([]occurrence{{seq: head - 1}}, head)
	}
	if _, _, _, known := f.after(11); known || len(f.window) != feedWindow {
		t.Fatalf("it remembers %d, the first too: %v", len(f.window), known)
	}
	at := head - 2*feedWindow
	next := at + 1
	for {
		found, to, _, known := f.after(at)
		if !known || len(found) > feedPage {
			t.Fatalf("after %d: %v, %d found", at, known, len(found))
		}
		for _, o := range found {
			if o.seq != next {
				t.Fatalf("%d came where %d was next", o.seq, next)
			}
			next += 2
		}
		if to == at {
			break
		}
		at = to
	}
	if at != head || next != head+1 {
		t.Fatalf("it ends at %d with %d next, want %d", at, next, head)
	}
}

func TestStreamsOfAPerson(t *testing.T) {
	h := &streams{poll: 1 << 40, feeds: map[string]*feed{}, open: map[string]int{}}
	var leave []func()
	for i := range maxStreams {
		_, l, err := h.join("ann", []string{"p", "q"}[i%2], 1)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	if _, _, err := h.join("ann", "p", 1); engine.CodeOf(err) != engine.CodeRateLimited {
		t.Fatalf("one more gave %v", err)
	}
	if _, l, err := h.join("bob", "p", 1); err != nil || len(h.feeds) != 2 {
		t.Fatalf("%v, %d feeds", err, len(h.feeds))
	} else {
		leave = append(leave, l)
	}
	for _, l := range leave {
		l()
	}
	if len(h.feeds)+len(h.open) != 0 {
		t.Fatalf("%v and %v stay behind", h.feeds, h.open)
	}
}
