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

// Forwarding sends the audit log to a receiver outside the installation: each chain from
// its first entry on, in order. It goes on where the receiver acknowledged last. An entry
// whose acknowledgement was lost is sent again, with the same number and hash. One node of
// an installation sends at a time. All fields must be set; then call Run.
type Forwarding struct {
	Name      string // of the kind of receiver, in metrics and messages
	ID        string // of the receiver, in positions; another receiver has another one
	Receiver  AuditReceiver
	Positions ForwardingPositions
	Store     ForwardingStore
	Node      string // the id of this node
	Clock     Clock
	Log       *slog.Logger

	// These belong to Run.
	mine    bool // whether it was this node's turn at the time renewed
	renewed time.Time
	heads   map[string]AuditHead // what the receiver has of each chain
	chains  []string
	listed  time.Time // when chains was read
	batch   int       // how many entries are sent at once, fewer after failures

	mu     sync.Mutex
	status ForwardingStatus
}

// AuditReceiver takes entries of the audit log.
type AuditReceiver interface {
	// Receive returns nil when the receiver has acknowledged every entry.
	Receive(ctx context.Context, entries []AuditEntry) error
	// String names the receiver for people, without credentials.
	String() string
}

// ForwardingStore is what [Forwarding] reads; [Store] documents the methods.
type ForwardingStore interface {
	AuditAfter(ctx context.Context, chain string, seq int64, limit int) ([]AuditEntry, error)
	AuditNews(ctx context.Context, after map[string]int64, limit int) ([]AuditEntry, error)
	AuditWaiting(ctx context.Context) (entries int, since time.Time, err error)
	Projects(ctx context.Context, memberID string, page Page) ([]Project, string, error)
}

// ForwardingPositions keeps how far receivers have the audit log.
type ForwardingPositions interface {
	// TakeForwardingTurn gives a node its turn to send to a receiver, or renews it, unless
	// it is another node's turn at the time now. It returns the turn that is stored then. A
	// later CaughtUp that is stored stays.
	TakeForwardingTurn(ctx context.Context, want ForwardingTurn, now time.Time) (ForwardingTurn, error)
	// Forwarded returns the last entry that a receiver has of each chain.
	Forwarded(ctx context.Context, receiver string) (map[string]AuditHead, error)
	// SetForwarded stores the last entries of some chains. A later one that is stored stays.
	SetForwarded(ctx context.Context, receiver string, heads map[string]AuditHead) error
	// ForgetForwarded has a chain sent again from its beginning.
	ForgetForwarded(ctx context.Context, receiver, chain string) error
}

// ForwardingTurn says which node sends to a receiver, and until when. The receiver has
// every entry that was written before CaughtUp, which is zero before that was so once.
type ForwardingTurn struct {
	Receiver string    `json:"receiver"`
	Node     string    `json:"node"`
	Until    time.Time `json:"until"`
	CaughtUp time.Time `json:"caught_up"`
}

// ForwardingStatus is how forwarding goes. The receiver has every entry that was written
// before CaughtUp; until that was so once, CaughtUp is the time of the start. Lost counts
// entries that were deleted before they were sent, Failures what did not succeed; Problem
// is why the last attempt failed, or "".
type ForwardingStatus struct {
	CaughtUp time.Time
	Sent     int64
	Lost     int64
	Failures int64
	Problem  string
}

const (
	forwardEvery    = time.Second      // between two looks at chains that have nothing new
	forwardPauseMax = 30 * time.Second // between two attempts
	forwardBatch    = 200              // entries that are sent at once
	forwardChains   = 500              // chains that one query looks at
	forwardWithin   = 10 * time.Second // for one batch, or one query
	forwardList     = 10 * time.Second // between two looks for new chains
	forwardLast     = 5 * time.Second  // for what is sent when the server ends
	turnRenewed     = 5 * time.Second
	turnLife        = 2 * forwardWithin
)

// errNotMyTurn says that another node sends.
var errNotMyTurn = errors.New("it is another node's turn")

// Run sends until ctx ends, and once more then. After a failure another node may take its
// turn: perhaps it reaches the receiver.
func (f *Forwarding) Run(ctx context.Context) {
	f.batch = forwardBatch
	f.note(func(s *ForwardingStatus) { s.CaughtUp = f.Clock() })
	pause := forwardEvery
	for ctx.Err() == nil {
		err := f.round(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, errNotMyTurn):
			pause = forwardEvery
		case err == nil:
			f.succeeded(ctx)
			pause = forwardEvery
		default:
			f.failed(ctx, err)
			f.endTurn(ctx)
			pause = min(2*pause, forwardPauseMax)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	if f.mine && f.Status().Problem == "" {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), forwardLast)
		defer cancel()
		_ = f.round(last) // otherwise, it is sent at the next start
	}
	f.endTurn(ctx)
}

// endTurn lets another node take its turn at once. If that fails, the turn ends soon.
func (f *Forwarding) endTurn(ctx context.Context) {
	if !f.mine {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
	defer cancel()
	now := f.Clock()
	_, _ = f.Positions.TakeForwardingTurn(ctx, ForwardingTurn{Receiver: f.ID, Node: f.Node, Until: now}, now)
	f.mine = false
}

// Status is safe for concurrent use, as is Delay.
func (f *Forwarding) Status() ForwardingStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// Delay is the greatest age of an entry that the receiver may not have yet.
func (f *Forwarding) Delay() time.Duration { return max(0, f.Clock().Sub(f.Status().CaughtUp)) }

func (f *Forwarding) note(change func(*ForwardingStatus)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.status)
}

func (f *Forwarding) succeeded(ctx context.Context) {
	f.batch = forwardBatch
	if f.Status().Problem != "" {
		f.Log.InfoContext(ctx, "audit entries are sent again", "receiver", f.Receiver.String())
	}
	f.note(func(s *ForwardingStatus) { s.Problem = "" })
}

// failed logs a problem. The next batch is smaller, so that entries which are too large
// together, or which the receiver refuses, hold up no others before them.
func (f *Forwarding) failed(ctx context.Context, err error) {
	f.batch = max(1, f.batch/2)
	f.Log.ErrorContext(ctx, "audit entries could not be sent; they are kept and sent again later", "receiver", f.Receiver.String(), "error", err)
	f.note(func(s *ForwardingStatus) { s.Failures++; s.Problem = err.Error() })
}

// round sends everything that has a number now.
func (f *Forwarding) round(ctx context.Context) error {
	if err := f.takeTurn(ctx); err != nil {
		return err
	}
	began := f.Clock()
	if age := began.Sub(f.listed); age < 0 || age >= forwardList {
		chains, err := auditChains(ctx, f.Store)
		if err != nil {
			return fmt.Errorf("list the audit chains: %w", err)
		}
		f.chains, f.listed = chains, began
	}
	waiting, since, err := f.Store.AuditWaiting(ctx)
	if err != nil {
		return fmt.Errorf("look for audit entries without a number: %w", err)
	}
	for chains := range slices.Chunk(f.chains, forwardChains) {
		for {
			sent, err := f.sendBatch(ctx, chains)
			if err != nil {
				return err
			}
			if sent == 0 {
				break
			}
		}
	}
	caughtUp := f.listed // a chain that is newer may have entries
	if waiting > 0 && since.Before(caughtUp) {
		caughtUp = since
	}
	f.note(func(s *ForwardingStatus) { s.CaughtUp = caughtUp })
	return nil
}

// takeTurn makes sure that it is this node's turn to send.
func (f *Forwarding) takeTurn(ctx context.Context) error {
	now := f.Clock()
	held := now.Sub(f.renewed)
	had := f.mine && held >= 0 && held < turnLife
	if had && held < turnRenewed {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, forwardWithin)
	defer cancel()
	want := ForwardingTurn{Receiver: f.ID, Node: f.Node, Until: now.Add(turnLife)}
	if had {
		want.CaughtUp = f.Status().CaughtUp
	}
	turn, err := f.Positions.TakeForwardingTurn(limited, want, now)
	if err != nil {
		return fmt.Errorf("take the turn to send audit entries: %w", err)
	}
	if !turn.CaughtUp.IsZero() && !had {
		f.note(func(s *ForwardingStatus) { s.CaughtUp = turn.CaughtUp })
	}
	if f.mine = turn.Node == f.Node; !f.mine {
		return errNotMyTurn
	}
	f.renewed = now
	if had {
		return nil
	}
	if err := f.resume(ctx); err != nil {
		f.endTurn(ctx)
		return err
	}
	return nil
}

// resume reads how far the receiver has each chain. If a chain does not have that entry,
// because an older database was restored, the receiver gets it from the beginning.
func (f *Forwarding) resume(ctx context.Context) (err error) {
	if f.heads, err = f.Positions.Forwarded(ctx, f.ID); err != nil {
		return fmt.Errorf("read how far audit entries were sent: %w", err)
	}
	for chain, head := range f.heads {
		if err := f.takeTurn(ctx); err != nil { // there may be many chains
			return err
		}
		next, err := f.Store.AuditAfter(ctx, chain, head.Seq-1, 1)
		if err != nil {
			return fmt.Errorf("compare the audit log with what was sent: %w", err)
		}
		if len(next) > 0 && follows(next[0], head) {
			continue
		}
		f.Log.WarnContext(ctx, "an audit chain is not the one that was sent before, so it is sent from its beginning: the database was restored or changed", "chain", chain, "receiver", f.Receiver.String())
		if err := f.Positions.ForgetForwarded(ctx, f.ID, chain); err != nil {
			return fmt.Errorf("forget how far an audit chain was sent: %w", err)
		}
		delete(f.heads, chain)
	}
	return nil
}

// follows reports whether an entry is the head, follows it, or comes after entries that
// were deleted by their age.
func follows(e AuditEntry, head AuditHead) bool {
	switch e.Seq {
	case head.Seq:
		return e.Hash == head.Hash
	case head.Seq + 1:
		return e.PrevHash == head.Hash
	}
	return true
}

// sendBatch sends what is new in some chains, and returns how many entries that was.
func (f *Forwarding) sendBatch(ctx context.Context, chains []string) (int, error) {
	if err := f.takeTurn(ctx); err != nil {
		return 0, err
	}
	after := map[string]int64{}
	for _, chain := range chains {
		after[chain] = f.heads[chain].Seq
	}
	ctx, cancel := context.WithTimeout(ctx, forwardWithin)
	defer cancel()
	entries, err := f.Store.AuditNews(ctx, after, f.batch)
	if err != nil {
		return 0, fmt.Errorf("read audit entries to send: %w", err)
	}
	if len(entries) == 0 {
		return 0, nil
	}
	if err := f.Receiver.Receive(ctx, entries); err != nil {
		return 0, fmt.Errorf("send %d audit entries to %s, the first of which is entry %d of %s: %w", len(entries), f.Receiver, entries[0].Seq, entries[0].ProjectID, err)
	}
	heads := map[string]AuditHead{}
	for _, e := range entries {
		heads[e.ProjectID] = AuditHead{e.Seq, e.Hash}
	}
	storing, cancelStoring := context.WithTimeout(context.WithoutCancel(ctx), removeWithin) // also when the server ends
	defer cancelStoring()
	if err := f.Positions.SetForwarded(storing, f.ID, heads); err != nil {
		return 0, fmt.Errorf("store how far audit entries were sent: %w", err)
	}
	for _, e := range entries {
		f.countLost(ctx, e, after[e.ProjectID])
		after[e.ProjectID] = e.Seq
	}
	maps.Copy(f.heads, heads)
	f.note(func(s *ForwardingStatus) { s.Sent += int64(len(entries)) })
	return len(entries), nil
}

// countLost counts the entries between two that were sent. What was deleted before
// anything was sent is not lost: the receiver is new.
func (f *Forwarding) countLost(ctx context.Context, e AuditEntry, before int64) {
	if lost := e.Seq - before - 1; before > 0 && lost > 0 {
		f.Log.ErrorContext(ctx, "audit entries were deleted before they were sent", "receiver", f.Receiver.String(), "chain", e.ProjectID, "entries", lost)
		f.note(func(s *ForwardingStatus) { s.Lost += lost })
	}
}
