package api

import "testing"

// Two spellings of one name are the same name. Equal names in different objects and
// equal texts in arrays are not duplicates.
func TestUniqueMembers(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"a":1,"b":[{"a":1},{"a":2}]}`:         true,
		`{"a":["b","b"],"b":"a","c":{"a":{}}}`:  true,
		`[[],{"":null},{"":1},"","",{}]`:        true,
		`"x"`:                                   true,
		`{"a":{"x":"a"},"b":["a",{"a":["a"]}]}`: true,
		`{"a":{"a":{}},"a":1}`:                  false,
		`{"\u0061":1,"a":2}`:                    false,
		`[[],{"":null,"":1}]`:                   false,
		`{"a":[[{"b":1,"c":[],"b":2}]]}`:        false,
		`{"a":[],"b":{},"a":null}`:              false,
	} {
		var v any
		if err := strictJSON.Unmarshal([]byte(body), &v); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
}
