package api

import (
	"bufio"
	"bytes"
	"errors"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

type brokenWriter struct{}

var errGone = errors.New("connection gone")

func (brokenWriter) Write([]byte) (int, error) { return 0, errGone }

// However sending ends, Sent is called once, and then the content is erased.
func TestFileBody(t *testing.T) {
	content := []byte("canary")
	for name, c := range map[string]struct {
		run  func(*fileBody) error
		want error
	}{
		"written": {func(s *fileBody) error {
			var out bytes.Buffer
			_, err := s.WriteTo(bufio.NewWriter(&out))
			if out.String() != "canary" {
				t.Errorf("%q was written: the buffer was not flushed", out.String())
			}
			return err
		}, nil},
		"broken while flushing": {func(s *fileBody) error {
			_, err := s.WriteTo(bufio.NewWriter(brokenWriter{}))
			return err
		}, errGone},
		"headers not written": {func(s *fileBody) error { return s.CloseWithError(errGone) }, errGone},
		"given up":            {func(s *fileBody) error { return s.CloseWithError(nil) }, errNotSent},
	} {
		var reported []error
		file := &engine.File{Content: bytes.Clone(content), Sent: func(err error) { reported = append(reported, err) }}
		s := newFileBody(file)
		err := c.run(s)
		if closed := s.CloseWithError(err); closed != nil {
			t.Errorf("%s: %v", name, closed)
		}
		if len(reported) != 1 || !errors.Is(reported[0], c.want) {
			t.Errorf("%s: reported %v, want %v", name, reported, c.want)
		}
		if !bytes.Equal(file.Content, make([]byte, len(content))) {
			t.Errorf("%s: the content is still there", name)
		}
	}
}
