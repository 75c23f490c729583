package workflows

import (
	"bytes"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
)

// testKey encrypts the recorded histories, which contain only test data.
var testKey = bytes.Repeat([]byte{7}, 32)

func testCodec(t *testing.T) *Codec {
	t.Helper()
	c, err := NewCodec(testKey)
	noError(t, err)
	return c
}

func TestCodecEncryptsAndRefusesWhatItDidNotWrite(t *testing.T) {
	c := testCodec(t)
	plain := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(`"canary"`)}
	sealed, err := c.Encode([]*commonpb.Payload{plain, plain})
	noError(t, err)
	if bytes.Contains(sealed[0].Data, []byte("canary")) || bytes.Equal(sealed[0].Data, sealed[1].Data) {
		t.Error("the payload is readable or repeats")
	}
	opened, err := c.Decode(sealed)
	noError(t, err)
	if string(opened[1].Data) != `"canary"` || string(opened[1].Metadata["encoding"]) != "json/plain" {
		t.Errorf("opened %v", opened[1])
	}
	changed := &commonpb.Payload{Metadata: sealed[0].Metadata, Data: bytes.Clone(sealed[0].Data)}
	changed.Data[len(changed.Data)-1] ^= 1
	short := &commonpb.Payload{Metadata: sealed[0].Metadata, Data: []byte("short")}
	for name, p := range map[string]*commonpb.Payload{"plain": plain, "changed": changed, "short": short, "empty": {}} {
		if _, err := c.Decode([]*commonpb.Payload{p}); err == nil {
			t.Errorf("a payload that is %s opens", name)
		}
	}
	if _, err := NewCodec([]byte("short")); err == nil {
		t.Error("a short key is taken")
	}
}

// quiet drops the SDK's log.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
