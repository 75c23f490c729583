package api_test

import (
	"context"

	"github.com/countersign-dev/countersign/engine"
)

// formats is engine.Formats under a name that its method Formats does not hide.
type formats = engine.Formats

// bigFiles renders files that no socket buffer holds.
type bigFiles struct{ formats }

func (bigFiles) Render(context.Context, engine.RenderJob) ([]byte, error) {
	return make([]byte, 64<<20), nil
}

// brokenFormats fails to render.
type brokenFormats struct{ formats }

func (brokenFormats) Render(context.Context, engine.RenderJob) ([]byte, error) {
	return nil, engine.Errorf(engine.CodeRendererFailed, "the renderer failed").Because(errBroken)
}

// brokenStore is a real store, some of whose methods fail.
type brokenStore struct {
	engine.Store
	settle, token, append error
}

func (b *brokenStore) Settle(ctx context.Context, s engine.Settlement, rec engine.Record) (engine.Settlement, bool, error) {
	if b.settle != nil {
		return engine.Settlement{}, false, b.settle
	}
	return b.Store.Settle(ctx, s, rec)
}

func (b *brokenStore) Token(ctx context.Context, digest string) (engine.TokenRecord, error) {
	if b.token != nil {
		return engine.TokenRecord{}, b.token
	}
	return b.Store.Token(ctx, digest)
}

func (b *brokenStore) Append(ctx context.Context, e engine.AuditEntry) error {
	if b.append != nil {
		return b.append
	}
	return b.Store.Append(ctx, e)
}
