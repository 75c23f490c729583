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
	Heads map[string]engine.AuditHead `json:"heads"`
	Size  int64                       `json:"size,omitempty"`
}

// TakeForwardingTurn implements [engine.ForwardingPositions].
func (*PositionFile) TakeForwardingTurn(_ context.Context, want engine.ForwardingTurn, _ time.Time) (engine.ForwardingTurn, error) {
	return want, nil
}

// Forwarded implements [engine.ForwardingPositions].
func (p *PositionFile) Forwarded(context.Context, string) (map[string]engine.AuditHead, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stored, err := p.read()
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

// read returns the content of the file, which is empty before the first change. It needs
// mu.
func (p *PositionFile) read() (position, error) {
	if p.stored != nil {
		return *p.stored, nil
	}
	stored := position{Heads: map[string]engine.AuditHead{}}
	text, err := os.ReadFile(p.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return stored, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &stored)
	}
	if err != nil {
		return stored, fmt.Errorf("read how far entries were sent from %s: %w; without this file, all entries are sent again", p.Path, err)
	}
	return stored, nil
}

// change replaces the file as a whole.
func (p *PositionFile) change(apply func(*position)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next, err := p.read()
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
	return nil
}
