package http1

import (
	"bytes"
	"strconv"

	"golang.org/x/net/http/httpguts"
)

// head is what the lines of a request's head say about its framing.
type head struct {
	old       bool // HTTP/1.0
	hosts     int
	lengths   [][]byte
	encodings [][]byte
}

// request checks a request line (RFC 9112, section 3).
func (h *head) request(text []byte) bool {
	parts := bytes.Split(text, []byte(" "))
	if len(parts) != 3 || !httpguts.ValidHeaderFieldName(string(parts[0])) || len(parts[1]) == 0 {
		return false
	}
	for _, b := range parts[1] {
		if b <= ' ' || b >= 0x7f {
			return false
		}
	}
	h.old = string(parts[2]) == "HTTP/1.0"
	return h.old || string(parts[2]) == "HTTP/1.1"
}

// field checks a field line and notes what it says about the framing. A line that
// continues another (obs-fold) is refused, because it begins with white space
// (RFC 9112, section 5.2).
func (h *head) field(text []byte) bool {
	name, value, ok := cutField(text)
	if !ok {
		return false
	}
	switch {
	case bytes.EqualFold(name, []byte("Host")):
		h.hosts++
	case bytes.EqualFold(name, []byte("Content-Length")):
		h.lengths = append(h.lengths, bytes.Clone(value))
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		h.encodings = append(h.encodings, bytes.Clone(value))
	}
	return true
}

// cutField splits a field line (RFC 9112, section 5). No white space may be before
// the colon (section 5.1).
func cutField(text []byte) (name, value []byte, ok bool) {
	name, value, ok = bytes.Cut(text, []byte(":"))
	value = bytes.Trim(value, " \t")
	return name, value, ok && httpguts.ValidHeaderFieldName(string(name)) && httpguts.ValidHeaderFieldValue(string(value))
}

// framing returns the length of the body in bytes, or that it is chunked (RFC 9112,
// sections 3.2 and 6). A head that could be understood in two ways is not valid.
func (h *head) framing() (length int64, chunked, ok bool) {
	if h.hosts > 1 || h.hosts == 0 && !h.old {
		return 0, false, false
	}
	switch {
	case len(h.encodings)+len(h.lengths) > 1:
		return 0, false, false
	case len(h.encodings) == 1:
		return 0, true, !h.old && bytes.EqualFold(h.encodings[0], []byte("chunked"))
	case len(h.lengths) == 1:
		length, ok = parseNumber(h.lengths[0], 10)
		return length, false, ok
	}
	return 0, false, true
}

// parseChunkSize parses the line before a chunk (RFC 9112, section 7.1). Extensions
// are skipped.
func parseChunkSize(text []byte) (int64, bool) {
	size, extensions, _ := bytes.Cut(text, []byte(";"))
	if !httpguts.ValidHeaderFieldValue(string(extensions)) {
		return 0, false
	}
	return parseNumber(size, 16)
}

// parseNumber parses digits and nothing else: no sign, no space, no 0x.
func parseNumber(digits []byte, base int) (int64, bool) {
	n, err := strconv.ParseUint(string(digits), base, 63)
	return int64(n), err == nil //nolint:gosec // of 63 bits
}
