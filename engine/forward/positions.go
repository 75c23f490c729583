package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"github.com/countersign-dev/countersign/engine"
)

// PositionFile keeps in a file how far one receiver has the audit log. One process uses
// it, so that it is always this process's turn.
type PositionFile struct {
	Path string

	mu     sync.Mutex
	stored *position
}

// position is the content of the file. Size is how much of a file of entries counts.
type position struct {
	Heads    map[string]engine.AuditHead `json:"heads"`
	Size     int64                       `json:"size,omitempty"`
	CaughtUp time.Time                   `json:"caught_up,omitzero"`
}

// caughtUpEvery is how far the stored time may be behind, so that a server without work
// seldom writes.
const caughtUpEvery = 10 * time.Second

// TakeForwardingTurn implements [engine.ForwardingPositions].
func (p *PositionFile) TakeForwardingTurn(_ context.Context, want engine.ForwardingTurn, _ time.Time) (engine.ForwardingTurn, error) {
	stored, _, err := p.load()
	if err == nil && want.CaughtUp.Sub(stored.CaughtUp) >= caughtUpEvery {
		return want, p.change(func(stored *position) { stored.CaughtUp = want.CaughtUp })
	}
	if want.CaughtUp.Before(stored.CaughtUp) {
		want.CaughtUp = stored.CaughtUp
	}
	return want, err
}

// Forwarded implements [engine.ForwardingPositions].
func (p *PositionFile) Forwarded(context.Context, string) (map[string]engine.AuditHead, error) {
	stored, _, err := p.load()
	return maps.Clone(stored.Heads), err
}

// SetForwarded implements [engine.ForwardingPositions].
func (p *PositionFile) SetForwarded(_ context.Context, _ string, heads map[string]engine.AuditHead) error {
	return p.change(func(stored *position) { maps.Copy(stored.Heads, heads) })
}

// ForgetForwarded implements [engine.ForwardingPositions].
func (p *PositionFile) ForgetForwarded(_ context.Context, _, chain string) error {
	return p.change(func(stored *position) { delete(stored.Heads, chain) })
}

// load returns the content of the file, and whether there is one.
func (p *PositionFile) load() (stored position, exists bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read()
}

// read is load for whoever has locked mu.
func (p *PositionFile) read() (stored position, exists bool, err error) {
	if p.stored != nil {
		return *p.stored, true, nil
	}
	text, err := os.ReadFile(p.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return position{Heads: map[string]engine.AuditHead{}}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &stored)
	}
	if err == nil && (stored.Heads == nil || stored.Size < 0) {
		err = errors.New("it does not have what this program writes")
	}
	if err != nil {
		return position{}, false, fmt.Errorf("read how far entries were sent from %s: %w; if you delete this file, all entries are sent again", p.Path, err)
	}
	return stored, true, nil
}

// change replaces the file as a whole.
func (p *PositionFile) change(apply func(*position)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next, _, err := p.read()
	if err != nil {
		return err
	}
	next.Heads = maps.Clone(next.Heads)
	apply(&next)
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(p.Path, text, 0o600, renameio.WithTempDir(filepath.Dir(p.Path))); err != nil {
		return err
	}
	p.stored = &next
	return engine.SyncFolder(filepath.Dir(p.Path))
}
