package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Anchors keeps the heads of the audit chains in a place outside the database, and
// finds by them that the database was rolled back. Call [Anchors.Check] before anything
// is written, and then [Anchors.Run]. All fields must be set.
type Anchors struct {
	Store  Store
	Target AnchorTarget
	Key    []byte        // the audit key
	Every  time.Duration // between two anchors
	Wait   time.Duration // how long a start waits for a target that does not answer
	Clock  Clock
	Log    *slog.Logger

	writing sync.Mutex

	mu       sync.Mutex
	heads    map[string]AuditHead
	at       time.Time
	failures int
}

// anchorTimeout bounds one call of a target, anchorLastTimeout all of the last anchor.
const (
	anchorTimeout     = 10 * time.Second
	anchorLastTimeout = 10 * time.Second
)

// Head is the last head of a chain that was read from the target or written to it.
func (a *Anchors) Head(chain string) (AuditHead, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	head, ok := a.heads[chain]
	return head, ok
}

// Status is the time of the last anchor that was read or written, zero if there is
// none, and how often anchoring has failed since the start.
func (a *Anchors) Status() (last time.Time, failures int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at, a.failures
}

// Check compares the database with the anchor. If the database is behind, Check returns
// a [BehindError]. With acceptRestore it ends what may be used a second time and writes a
// new anchor, also if the database is not behind: the last anchor may be older than what
// was used last. It also returns an error if a restore was not accepted to its end, or if the
// anchor cannot be read: a server that does not know its anchor would serve a database that
// was rolled back.
func (a *Anchors) Check(ctx context.Context, acceptRestore bool) error {
	stored, err := a.stored(ctx)
	if err != nil {
		return err
	}
	behind, err := a.compare(ctx, stored)
	switch {
	case err != nil:
		return err
	case acceptRestore:
		if _, err = a.acceptRestore(ctx, stored, behind, Backup{}); err == nil {
			a.Log.Warn("start without --accept-restore from now on: each start with it revokes every token and ends every request again")
		}
		return err
	case len(behind.Chains) > 0:
		return behind
	}
	if _, unfinished, err := a.lastRestore(ctx); err != nil {
		return err
	} else if unfinished {
		return errRestoreUnfinished
	}
	a.remember(stored.Heads, stored.Time)
	return a.noteNoAnchor(ctx, stored)
}

// stored is the anchor to compare the database with.
func (a *Anchors) stored(ctx context.Context) (Anchor, error) {
	stored, err := a.readPatiently(ctx)
	if err != nil {
		err = fmt.Errorf("read the anchor of the audit log in %s: %w; "+
			"make it readable, or set anchor.url to where it is. If it is lost, move away what is there: the next anchor then begins without it", a.Target, err)
	}
	return stored, err
}

// compare finds the chains of which the database lacks what the anchor has.
func (a *Anchors) compare(ctx context.Context, stored Anchor) (*BehindError, error) {
	behind := &BehindError{Target: a.Target.String(), Time: stored.Time}
	for _, chain := range slices.Sorted(maps.Keys(stored.Heads)) {
		var lacks *Behind
		if err := a.require(ctx, chain, stored.Heads[chain]); errors.As(err, &lacks) {
			behind.Chains = append(behind.Chains, lacks)
		} else if err != nil {
			return nil, err
		}
	}
	return behind, nil
}

// noteNoAnchor logs that there is no anchor although there is an audit log.
func (a *Anchors) noteNoAnchor(ctx context.Context, stored Anchor) error {
	if stored.Version != 0 {
		return nil
	}
	entries, err := a.Store.AuditAfter(ctx, SystemChain, 0, 1)
	if err == nil && len(entries) > 0 {
		a.Log.Warn("the audit log has no anchor yet: that it was rolled back before now cannot be seen", "anchor", a.Target.String())
	}
	return err
}

// read returns the stored anchor, or the zero anchor if there is none.
func (a *Anchors) read(ctx context.Context) (Anchor, error) {
	ctx, cancel := context.WithTimeout(ctx, anchorTimeout)
	defer cancel()
	text, err := a.Target.ReadAnchor(ctx)
	if errors.Is(err, CodeNotFound) {
		return Anchor{}, nil
	}
	if err != nil {
		return Anchor{}, errNoAnswer{err}
	}
	return decodeAnchor(a.Key, text)
}

// errNoAnswer is the failure of a target, after which another try can succeed.
type errNoAnswer struct{ error }

func (e errNoAnswer) Unwrap() error { return e.error }

func (a *Anchors) readPatiently(ctx context.Context) (Anchor, error) {
	const pause = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, a.Wait)
	defer cancel()
	for {
		stored, err := a.read(ctx)
		var noAnswer errNoAnswer
		if !errors.As(err, &noAnswer) {
			return stored, err
		}
		select {
		case <-ctx.Done():
			return stored, err
		case <-time.After(pause):
		}
	}
}

// Run writes an anchor at once, at intervals, and a last one when ctx ends. It logs
// and counts failures.
func (a *Anchors) Run(ctx context.Context) {
	tick := time.NewTicker(a.Every)
	defer tick.Stop()
	for {
		_ = a.Write(ctx) // it has logged and counted the failure
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), anchorLastTimeout)
			defer cancel()
			_ = a.Write(last) // it has logged and counted the failure
			return
		}
	}
}

// Write anchors the head of every chain. A chain that lacks its anchored entry, or is
// broken after it, keeps its anchor, and the others are anchored. Several processes may
// write to one target: each keeps the later head of what is there and its own. If
// another one writes between, its heads are there again after its next interval.
func (a *Anchors) Write(ctx context.Context) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	err := a.write(ctx)
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) { // at the end, Run writes once more
		a.mu.Lock()
		a.failures++
		a.mu.Unlock()
		a.Log.Error("the audit log could not be anchored", "anchor", a.Target.String(), "error", err)
	}
	return err
}

func (a *Anchors) write(ctx context.Context) error {
	stored, err := a.read(ctx)
	if err != nil {
		return fmt.Errorf("read the anchor: %w", err)
	}
	chains, err := a.chains(ctx, stored.Heads)
	if err != nil {
		return fmt.Errorf("list projects: %w", err)
	}
	heads, failed := map[string]AuditHead{}, []error{}
	for _, chain := range chains {
		own, _ := a.Head(chain)
		head, err := a.follow(ctx, chain, stored.Heads[chain], own)
		if err != nil {
			failed = append(failed, err)
			if head = stored.Heads[chain]; own.Seq > head.Seq {
				head = own
			}
		}
		if head.Seq > 0 {
			heads[chain] = head
		}
	}
	return errors.Join(append(failed, a.store(ctx, heads))...)
}

// store writes an anchor and remembers it.
func (a *Anchors) store(ctx context.Context, heads map[string]AuditHead) error {
	ctx, cancel := context.WithTimeout(ctx, anchorTimeout)
	defer cancel()
	now := a.Clock()
	text, err := encodeAnchor(a.Key, now, heads)
	if err == nil {
		err = a.Target.WriteAnchor(ctx, text)
	}
	if err != nil {
		return fmt.Errorf("write the anchor: %w", err)
	}
	a.remember(heads, now)
	return nil
}

func (a *Anchors) remember(heads map[string]AuditHead, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heads, a.at = heads, at
}
