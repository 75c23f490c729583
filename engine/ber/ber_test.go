package ber

import (
	"bytes"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		in, content, rest string
	}{
		"short":                {"\x04\x02hi+", "hi", "+"},
		"long":                 {"\x04\x81\x02hi", "hi", ""},
		"longer than needed":   {"\x04\x84\x00\x00\x00\x02hi", "hi", ""},
		"indefinite":           {"\x24\x80\x04\x02hi\x00\x00+", "\x04\x02hi", "+"},
		"indefinite and empty": {"\x30\x80\x00\x00", "", ""},
		"nested":               {"\x30\x80\x30\x80\x00\x00\x00\x00", "\x30\x80\x00\x00", ""},
	} {
		e, rest, err := Read([]byte(c.in))
		if err != nil || string(e.Content) != c.content || string(rest) != c.rest || string(e.Full) != strings.TrimSuffix(c.in, "+") {
			t.Errorf("%s: %q, %q, %v", name, e.Content, rest, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	for name, in := range map[string]string{
		"nothing": "", "a tag alone": "\x04", "too short": "\x04\x03hi", "a length too short": "\x04\x82\x01",
		"a length that overflows": "\x04\x89\xff\xff\xff\xff\xff\xff\xff\xff\xffhi", "no end": "\x30\x80\x04\x00",
		"primitive and indefinite": "\x04\x80\x00\x00", "a long tag": "\x1f\x81\x01\x00",
		"too deep": strings.Repeat("\x30\x80", 1000) + strings.Repeat("\x00\x00", 1000),
	} {
		if _, _, err := Read([]byte(in)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

func TestValues(t *testing.T) {
	only := func(in string) Element {
		e, err := Only([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	segments := only("\x24\x80\x04\x01a\x24\x03\x04\x01b\x00\x00")
	if octets, err := segments.Octets(); err != nil || string(octets) != "ab" {
		t.Errorf("segments are %q, %v", octets, err)
	}
	deep := []byte{4, 0}
	for range 60 {
		deep = append([]byte{0x24, byte(len(deep))}, deep...)
	}
	if _, err := only(string(deep)).Octets(); err == nil {
		t.Error("segments in segments have no bound")
	}
	if _, err := only("\x24\x02\x02\x00").Octets(); err == nil {
		t.Error("a segment that is no string is read")
	}
	for in, want := range map[string]string{"\x02\x00": "0", "\x02\x01\x7f": "127", "\x02\x02\x80\x01": "-32767", "\x02\x02\x00\x80": "128"} {
		if n := only(in).Int(); n.String() != want {
			t.Errorf("%q is %s, want %s", in, n, want)
		}
	}
	if oid := only("\x06\x03\x55\x04\x03").OID(); oid != "2.5.4.3" {
		t.Errorf("the identifier is %q", oid)
	}
	if _, err := Only([]byte("\x04\x00\x00")); err == nil {
		t.Error("data after the value is read")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("\x30\x80\x04\x02hi\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, rest, err := Read(in)
		if err != nil {
			return
		}
		if !bytes.Equal(append(bytes.Clone(e.Full), rest...), in) || !bytes.Contains(e.Full, e.Content) {
			t.Fatal("bytes are missing")
		}
		_, _ = e.Octets()
		_, _ = e.Children()
		_ = e.OID()
		_ = e.Int()
	})
}
