package api

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/countersign-dev/countersign/engine"
)

// transmission is a file's content as fasthttp writes it. It tells the domain
// once what became of it, and overwrites the content then: it may be a key.
//
// fasthttp calls WriteTo with its buffered writer; flushing that here is what
// makes "sent" mean that the system took every byte, not that a buffer did. It
// calls CloseWithError afterwards, or instead if the headers could not be
// written or the connection was given up.
type transmission struct {
	file *engine.File
	once sync.Once
}

var (
	_ io.WriterTo                  = (*transmission)(nil)
	_ fasthttp.ReadCloserWithError = (*transmission)(nil)
)

var errNotSent = errors.New("the file was not written to the connection")

func newTransmission(file *engine.File) *transmission { return &transmission{file: file} }

// WriteTo implements io.WriterTo.
func (t *transmission) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(t.file.Content)
	if buffered, ok := w.(interface{ Flush() error }); ok && err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		err = fmt.Errorf("write file: %w", err)
	}
	t.end(err)
	return int64(n), err
}

// Read implements io.Reader, which fasthttp asks for and does not use.
func (t *transmission) Read([]byte) (int, error) { return 0, errNotSent }

// CloseWithError implements fasthttp.ReadCloserWithError.
func (t *transmission) CloseWithError(err error) error {
	if err == nil {
		err = errNotSent
	}
	t.end(err) // nothing, if WriteTo came to its end
	return nil
}

func (t *transmission) end(err error) {
	t.once.Do(func() {
		clear(t.file.Content)
		t.file.Sent(err)
	})
}
