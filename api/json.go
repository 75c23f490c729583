package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// maxBody is the size of the largest body, in bytes.
const maxBody = 1 << 20

var (
	errNotUTF8   = errors.New("the body is not UTF-8")
	errDuplicate = errors.New("the body names a member twice")
)

// strictJSON is JSON as RFC 7493 (I-JSON) restricts it: UTF-8 only, and each member
// once, so that two programs cannot understand the same body differently.
var strictJSON = huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}

// unmarshal decodes a body. huma calls it twice for each: first into an any, which
// it validates, then into the type.
func unmarshal(body []byte, v any) error {
	if _, first := v.(*any); first {
		if !utf8.Valid(body) {
			return errNotUTF8
		}
		if err := json.Unmarshal(body, v); err != nil {
			return err
		}
		return uniqueMembers(json.NewDecoder(bytes.NewReader(body)))
	}
	return json.Unmarshal(body, v)
}

// uniqueMembers refuses an object that names a member twice. The caller has
// checked that the text is JSON.
func uniqueMembers(d *json.Decoder) error {
	type level struct {
		members map[string]bool // nil in an array
		name    bool            // the next token is a member's name
	}
	var open []level
	for {
		token, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{members: map[string]bool{}, name: true})
			continue
		case json.Delim('['):
			open = append(open, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		if len(open) == 0 {
			continue
		}
		at := &open[len(open)-1]
		name, isText := token.(string)
		switch {
		case at.members == nil:
		case !at.name || !isText:
			at.name = true // the value has ended
		case at.members[name]:
			return errDuplicate
		default:
			at.members[name], at.name = true, false
		}
	}
}
