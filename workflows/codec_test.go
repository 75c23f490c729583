package workflows

import (
	"bytes"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"github.com/countersign-dev/countersign/engine"
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
	c := testCodec(t).to("default", "req_1")
	sealed, err := c.ToPayloads("canary", "canary")
	noError(t, err)
	one, two := sealed.Payloads[0], sealed.Payloads[1]
	if bytes.Contains(one.Data, []byte("canary")) || bytes.Equal(one.Data, two.Data) {
		t.Error("the payload is readable or repeats")
	}
	if text := c.ToString(one); text != "[encrypted]" {
		t.Errorf("it prints as %q", text)
	}
	var opened string
	noError(t, c.FromPayload(two, &opened))
	if opened != "canary" {
		t.Errorf("opened %q", opened)
	}
	plain, err := converter.GetDefaultDataConverter().ToPayload("canary")
	noError(t, err)
	changed := &commonpb.Payload{Metadata: one.Metadata, Data: bytes.Clone(one.Data)}
	changed.Data[len(changed.Data)-1] ^= 1
	short := &commonpb.Payload{Metadata: one.Metadata, Data: []byte("short")}
	for name, p := range map[string]*commonpb.Payload{"plain": plain, "changed": changed, "short": short, "empty": {}} {
		if err := c.FromPayload(p, &opened); err == nil {
			t.Errorf("a payload that is %s opens", name)
		}
	}
	if _, err := NewCodec([]byte("short")); err == nil {
		t.Error("a short key is taken")
	}
}

// A payload opens only in the namespace, in the workflow and as the type for which
// it was encrypted.
func TestPayloadsOpenOnlyWhereTheyBelong(t *testing.T) {
	c := testCodec(t)
	vote := engine.VoteCommand{RequestID: "req_1"}
	here := c.to("default", "req_1")
	for name, where := range map[string]struct {
		of   bound
		into any
		want bool
	}{
		"the same place":              {here, new(engine.VoteCommand), true},
		"the same place, a pointer":   {here, new(*engine.VoteCommand), true},
		"another process of the same": {testCodec(t).to("default", "req_1"), new(engine.VoteCommand), true},
		"another workflow":            {c.to("default", "req_2"), new(engine.VoteCommand), false},
		"no workflow":                 {c.to("default", ""), new(engine.VoteCommand), false},
		"another namespace":           {c.to("other", "req_1"), new(engine.VoteCommand), false},
		"another type":                {here, new(engine.CancelCommand), false},
		"any type":                    {here, new(any), false},
		"names that join to the same": {c.to("default\" \"req_1", ""), new(engine.VoteCommand), false},
	} {
		sealed, err := here.ToPayload(vote)
		noError(t, err)
		if err := where.of.FromPayload(sealed, where.into); (err == nil) != where.want {
			t.Errorf("%s: %v", name, err)
		}
		if back, err := where.of.ToPayload(vote); err != nil || (here.FromPayload(back, where.into) == nil) != where.want {
			t.Errorf("%s, from there: %v", name, err)
		}
	}
}

// quiet drops the SDK's log.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
