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

// faultyStore is a real store whose methods fail where a test says so.
type faultyStore struct {
	engine.Store
	settle, token, append error
	apiKey                func() error
	leaf                  []byte // when set, every certificate is this one

	seen func(ctx context.Context, method string) // when set, it is told of these calls
}

func (b *faultyStore) tell(ctx context.Context, method string) {
	if b.seen != nil {
		b.seen(ctx, method)
	}
}

func (b *faultyStore) APIKeyBySecret(ctx context.Context, digest string) (engine.APIKey, error) {
	b.tell(ctx, "APIKeyBySecret")
	if b.apiKey != nil {
		if err := b.apiKey(); err != nil {
			return engine.APIKey{}, err
		}
	}
	return b.Store.APIKeyBySecret(ctx, digest)
}

func (b *faultyStore) Certificate(ctx context.Context, project, id string) (engine.Certificate, error) {
	b.tell(ctx, "Certificate")
	c, err := b.Store.Certificate(ctx, project, id)
	if b.leaf != nil {
		c.Leaf = b.leaf
	}
	return c, err
}

func (b *faultyStore) Settle(ctx context.Context, s engine.Settlement, rec engine.Record) (engine.Settlement, bool, error) {
	b.tell(ctx, "Settle")
	if b.settle != nil {
		return engine.Settlement{}, false, b.settle
	}
	return b.Store.Settle(ctx, s, rec)
}

func (b *faultyStore) Token(ctx context.Context, digest string) (engine.TokenRecord, error) {
	b.tell(ctx, "Token")
	if b.token != nil {
		return engine.TokenRecord{}, b.token
	}
	return b.Store.Token(ctx, digest)
}

func (b *faultyStore) Append(ctx context.Context, e engine.AuditEntry) error {
	b.tell(ctx, "Append")
	if b.append != nil {
		return b.append
	}
	return b.Store.Append(ctx, e)
}
