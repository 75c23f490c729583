package anchor

import (
	"context"
	"io"

	"github.com/countersign-dev/countersign/engine"
)

// Archive is an open folder of archives. Close releases its connections.
type Archive interface {
	engine.AuditArchive
	io.Closer
}

// OpenArchive opens a folder: a path, file:///path, https://host/path (http only on this
// machine), or a folder in a store whose driver is linked. It must exist if it is a path.
// token is the bearer token for https, or "". The folder is not read or written yet.
func OpenArchive(ctx context.Context, ref, token string) (Archive, error) {
	at, err := openPlace(ctx, "retention.archive", ref, token)
	if err != nil {
		return nil, err
	}
	return archive{at}, nil
}

type archive struct{ place }

// WriteArchive implements [engine.AuditArchive].
func (a archive) WriteArchive(ctx context.Context, name string, text io.Reader) error {
	return a.in(name).write(ctx, "application/x-ndjson", text)
}

// ReadArchive implements [engine.AuditArchive].
func (a archive) ReadArchive(ctx context.Context, name string) (io.ReadCloser, error) {
	return a.in(name).open(ctx)
}
