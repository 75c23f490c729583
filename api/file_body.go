package api

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/countersign-dev/countersign/engine"
)

// fileBody is the content of a file as fasthttp writes it. At the end it reports to
// the domain once whether the file was sent, and overwrites the content, which may
// be a key.
//
// fasthttp calls WriteTo with its buffered writer. WriteTo flushes it, so that
// "sent" means that the operating system accepted every byte. fasthttp calls
// CloseWithError afterwards, or instead if it could not write the headers or the
// connection was closed.
type fileBody struct {
	file *engine.File
	once sync.Once
}

var (
	_ io.WriterTo                  = (*fileBody)(nil)
	_ fasthttp.ReadCloserWithError = (*fileBody)(nil)
)

var errNotSent = errors.New("the file was not written to the connection")

func newFileBody(file *engine.File) *fileBody { return &fileBody{file: file} }

// WriteTo implements io.WriterTo.
func (b *fileBody) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b.file.Content)
	if buffered, ok := w.(interface{ Flush() error }); ok && err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		err = fmt.Errorf("write file: %w", err)
	}
	b.end(err)
	return int64(n), err
}

// Read implements io.Reader, which fasthttp requires and does not use.
func (b *fileBody) Read([]byte) (int, error) { return 0, errNotSent }

// CloseWithError implements fasthttp.ReadCloserWithError.
func (b *fileBody) CloseWithError(err error) error {
	if err == nil {
		err = errNotSent
	}
	b.end(err) // does nothing after WriteTo ended
	return nil
}

func (b *fileBody) end(err error) {
	b.once.Do(func() {
		clear(b.file.Content)
		b.file.Sent(err)
	})
}
