// Package wire holds the JSON bodies of the HTTP API, version 1, shared by the
// server (package api) and the Go client (package api/client). The server's
// OpenAPI document is generated from these types.
//
// Start with [Problem], which every error is, [Page], which every collection
// is, and [MintBody] and [Minted], the two sides of a download request. Times
// are RFC 3339 in UTC, durations whole seconds, ids opaque strings.
package wire

import (
	"log/slog"
	"time"
)

const redacted = "[redacted]"

// Secret is a token, passphrase, password or API key in a body of the API. JSON has
// its value, because a body must carry it; formatting and logging it yield
// "[redacted]". It is not engine.Secret, whose JSON is "[redacted]" too: a secret of
// the domain must never be encoded, and only this type crosses the border.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer, for %#v.
func (Secret) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Page is a part of a collection, newest first where there is a time.
// NextCursor is null at the end.
type Page[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor" doc:"Pass as ?cursor= to get the next page; null at the end"`
}

// Actor is who did something: a user, an API key or the system itself.
type Actor struct {
	Type string `json:"type" doc:"user, api_key, system or anonymous"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Requester is an actor with the person who is responsible for it.
type Requester struct {
	Actor
	Person   string `json:"person" doc:"Id of the responsible user, whatever key was used"`
	Username string `json:"username" doc:"Name of that user"`
}

// Instant is t, or nil for the zero time, which JSON shows as null.
func Instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
