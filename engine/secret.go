package engine

import "log/slog"

const redacted = "[redacted]"

// Secret is text that must not be printed: a token, a passphrase, an API key.
// Formatting, logging and encoding it yield "[redacted]"; only Reveal returns
// its value.
type Secret string

// Reveal returns the secret itself, where it must be sent or used.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer, for %#v.
func (Secret) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText keeps the secret out of JSON, YAML and every other encoding.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
