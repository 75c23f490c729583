// Package storage replaces Google's client of Cloud Storage.
//
// Temporal's server links that client to archive histories. The embedded server
// archives nothing, and the client with what it needs is a ninth of everything
// that a first build compiles. go.mod therefore replaces it with these types,
// which are those that Temporal's archiver names. Everything that would reach
// the service fails.
package storage

import (
	"context"
	"errors"
)

// ErrUnsupported is what every call fails with.
var ErrUnsupported = errors.New("this program was built without Cloud Storage; archive histories with a Temporal service of your own")

// ScopeFullControl is an OAuth scope.
const ScopeFullControl = "https://www.googleapis.com/auth/devstorage.full_control"

type (
	// Client cannot be made.
	Client struct{}
	// BucketHandle names no bucket.
	BucketHandle struct{}
	// BucketAttrs describes none.
	BucketAttrs struct{}
	// ObjectHandle names no object.
	ObjectHandle struct{}
	// ObjectAttrs describes none.
	ObjectAttrs struct{ Name string }
	// ObjectIterator finds none.
	ObjectIterator struct{}
	// Query asks for objects by their prefix.
	Query struct{ Prefix string }
	// Reader reads nothing.
	Reader struct{}
	// Writer writes nothing.
	Writer struct{}
)

// NewClient fails.
func NewClient(context.Context, ...any) (*Client, error) { return nil, ErrUnsupported }

// Bucket returns a handle whose calls fail.
func (*Client) Bucket(string) *BucketHandle { return &BucketHandle{} }

// Object returns a handle whose calls fail.
func (*BucketHandle) Object(string) *ObjectHandle { return &ObjectHandle{} }

// Objects returns an iterator that fails.
func (*BucketHandle) Objects(context.Context, *Query) *ObjectIterator { return &ObjectIterator{} }

// Attrs fails.
func (*BucketHandle) Attrs(context.Context) (*BucketAttrs, error) { return nil, ErrUnsupported }

// Attrs fails.
func (*ObjectHandle) Attrs(context.Context) (*ObjectAttrs, error) { return nil, ErrUnsupported }

// NewReader fails.
func (*ObjectHandle) NewReader(context.Context) (*Reader, error) { return nil, ErrUnsupported }

// NewWriter returns a writer that fails.
func (*ObjectHandle) NewWriter(context.Context) *Writer { return &Writer{} }

// Next fails.
func (*ObjectIterator) Next() (*ObjectAttrs, error) { return nil, ErrUnsupported }

// Read fails.
func (*Reader) Read([]byte) (int, error) { return 0, ErrUnsupported }

// Close does nothing.
func (*Reader) Close() error { return nil }

// Write fails.
func (*Writer) Write([]byte) (int, error) { return 0, ErrUnsupported }

// Close fails.
func (*Writer) Close() error { return ErrUnsupported }

// CloseWithError does nothing.
func (*Writer) CloseWithError(error) error { return nil }
