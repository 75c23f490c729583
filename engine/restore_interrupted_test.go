package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// interrupted is a store whose answer to a write is lost after some: the write is done.
type interrupted struct {
	engine.Store
	left int
}

var errInterrupted = errors.New("interrupted")

func (i *interrupted) answer(err error) error {
	if i.left--; i.left < 0 {
		return errors.Join(err, errInterrupted)
	}
	return err
}

func (i *interrupted) Append(ctx context.Context, e engine.AuditEntry) error {
	return i.answer(i.Store.Append(ctx, e))
}

func (i *interrupted) Settle(ctx context.Context, s engine.Settlement, rec engine.Record) (engine.Settlement, bool, error) {
	winner, won, err := i.Store.Settle(ctx, s, rec)
	return winner, won, i.answer(err)
}

func (i *interrupted) AdvanceRequest(ctx context.Context, next engine.Transition) error {
	return i.answer(i.Store.AdvanceRequest(ctx, next))
}

// acceptInterrupted accepts a restore, interrupted after each write and then before the
// anchor. Each time the server must refuse to start until the restore is accepted.
func (s *shop) acceptInterrupted() {
	ctx, store, target := s.t.Context(), s.Store, s.Target
	s.Target = &failing{AnchorTarget: target, left: 1, tried: make(chan bool, 9)}
	interruptions := 0
	for done := false; !done; {
		if _, behind := errors.AsType[*engine.BehindError](s.Check(ctx, false)); !behind {
			s.t.Fatalf("after %d interruptions the restore counts as accepted", interruptions)
		}
		s.Store = &interrupted{store, interruptions}
		err := s.Check(ctx, true)
		s.Store = store
		if done = err == nil; !done {
			interruptions++
		}
		if !done && !errors.Is(err, errInterrupted) && !strings.Contains(err.Error(), "the target is full") || interruptions > 100 {
			s.t.Fatalf("accepting a restore gives %v", err)
		}
	}
	if s.Target = target; interruptions < 5 {
		s.t.Errorf("it was interrupted %d times", interruptions)
	}
}

// A database that is not behind its anchor is refused too until all was ended. Each restore
// that is accepted is on record once, also without an anchor.
func TestAnInterruptedRestoreOfADatabaseThatIsNotBehind(t *testing.T) {
	ctx, place := t.Context(), newPlace(t)
	s := newShop(newNode(t, newDatabase(t), place))
	s.fill()
	backup := filepath.Join(t.TempDir(), "backup.db")
	s.tamper("VACUUM INTO '" + backup + "'")
	ok(t, s.redeem("live")) // which no anchor knows

	s.on(newNode(t, backup, place))
	store, refusals := s.Store, 0
	recorded := func(action string) int {
		return len(s.entries(engine.AuditQuery{ProjectID: engine.SystemChain, Action: action}))
	}
	for interruptions := 0; ; interruptions++ {
		s.Store = &interrupted{store, interruptions}
		err := s.Check(ctx, true)
		if s.Store = store; err == nil {
			break
		}
		if !errors.Is(err, errInterrupted) {
			t.Fatal(err)
		}
		err = s.Check(ctx, false)
		if ended := recorded(engine.ActionRestoreAccepted) == 1; ended == (err != nil) || !ended && !strings.Contains(err.Error(), "start once with --accept-restore") {
			t.Fatalf("after %d interruptions, a start gives %v", interruptions, err)
		} else if !ended {
			refusals++
		}
	}
	if refusals < 4 {
		t.Errorf("%d starts were refused", refusals)
	}
	s.expectEnds()
	if err := s.redeem("live"); !errors.Is(err, engine.CodeTokenRevoked) {
		t.Errorf("a used token gives %v", err)
	}
	for before := recorded(engine.ActionRestoreAccepted); before < 4; before++ {
		ok(t, os.Remove(place))
		ok(t, s.Check(ctx, true))
		if begun, accepted := recorded(engine.ActionRestoreBegun), recorded(engine.ActionRestoreAccepted); begun != before+1 || accepted != before+1 {
			t.Fatalf("%d restores begun and %d accepted are on record, want %d", begun, accepted, before+1)
		}
	}
}
