package workflows

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/crypto/chacha20poly1305"
	"google.golang.org/protobuf/proto"
)

// encoding marks an encrypted payload in its metadata.
const encoding = "binary/countersign-xchacha20poly1305"

// Codec encrypts workflow payloads with XChaCha20-Poly1305 under one key of the
// installation; each has its own 192-bit random nonce in front. The namespace, the
// workflow and the Go type of the value are authenticated as additional data, so
// that a payload opens only where it belongs.
//
// The SDK does not tell for which workflow it converts the input and the result of
// an Update, the text of a failure, and what a marker says of a local activity beside
// its result. These are bound to the namespace and the type only. Updates name the
// request that they are for, which their receivers compare.
type Codec struct{ aead cipher.AEAD }

// NewCodec takes a 32-byte key.
func NewCodec(key []byte) (*Codec, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("payload codec: %w", err)
	}
	return &Codec{aead}, nil
}

// to returns a data converter for the payloads of a workflow. The SDK binds it to
// others where it can tell.
func (c *Codec) to(namespace, workflowID string) bound {
	return newBound(sealer{aead: c.aead, namespace: namespace, workflow: func() string { return workflowID }})
}

// bound is a data converter for the payloads of one workflow.
type bound struct {
	converter.DataConverter
	sealer sealer
}

var _ workflow.ContextAware = bound{}

func newBound(s sealer) bound { return bound{converter.NewCompositeDataConverter(s), s} }

// FromPayloads implements converter.DataConverter. For the default converter, a
// missing payload is a zero value and one too many is nothing; here, both are errors:
// an input that somebody took away must not have a workflow run on nothing.
func (b bound) FromPayloads(payloads *commonpb.Payloads, valuePtrs ...any) error {
	if got, want := len(payloads.GetPayloads()), len(valuePtrs); got != want {
		return fmt.Errorf("decode %d payloads as %d values: %w", got, want, errForeign)
	}
	if err := b.DataConverter.FromPayloads(payloads, valuePtrs...); err != nil {
		return fmt.Errorf("%w: %w", errForeign, err)
	}
	return nil
}

// to binds to a workflow that is only asked for when it is needed: the SDK also binds
// before its context can tell.
func (b bound) to(workflow func() string) converter.DataConverter {
	b.sealer.workflow = workflow
	return newBound(b.sealer)
}

// WithWorkflowContext implements workflow.ContextAware.
func (b bound) WithWorkflowContext(ctx workflow.Context) converter.DataConverter {
	return b.to(func() string {
		if id, ok := ctx.Value(boundWorkflow{}).(string); ok {
			return id
		}
		info := workflow.GetInfo(ctx)
		return identity(info.WorkflowType.Name, info.WorkflowExecution.ID)
	})
}

// WithContext implements workflow.ContextAware, for activities and for clients.
func (b bound) WithContext(ctx context.Context) converter.DataConverter {
	return b.to(func() string {
		if id, ok := ctx.Value(boundWorkflow{}).(string); ok || !activity.IsActivity(ctx) {
			return id
		}
		info := activity.GetInfo(ctx)
		return identity(info.WorkflowType.Name, info.WorkflowExecution.ID)
	})
}

// boundWorkflow is the key under which a context has the workflow that a client or a
// parent workflow addresses.
type boundWorkflow struct{}

// addressed returns a context in which a client's payloads are for a workflow.
func addressed(ctx context.Context, workflowID string) context.Context {
	return context.WithValue(ctx, boundWorkflow{}, workflowID)
}

// identity is the name to which a workflow's payloads are bound: its id. A schedule
// adds a time to the ids of the workflows that it starts, all with the same input, so
// these are bound to the schedule.
func identity(workflowType, workflowID string) string {
	switch workflowType {
	case retentionName:
		return retentionID
	case reconcileWorkflowName:
		return reconciliationID
	}
	return workflowID
}

// sealer encrypts single values. It is the only encoding of the data converter, so
// what is not encrypted does not open: only processes that have the key write
// histories.
type sealer struct {
	aead      cipher.AEAD
	namespace string
	workflow  func() string
}

var _ converter.PayloadConverter = sealer{}

// Encoding implements converter.PayloadConverter.
func (sealer) Encoding() string { return encoding }

// ToPayload implements converter.PayloadConverter.
func (s sealer) ToPayload(value any) (*commonpb.Payload, error) {
	payload, err := converter.GetDefaultDataConverter().ToPayload(value)
	if err != nil {
		return nil, fmt.Errorf("encode payload: %w", err)
	}
	plain, err := proto.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("encode payload: %w", err)
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plain)+s.aead.Overhead())
	_, _ = rand.Read(nonce) // crypto/rand.Read never fails: it crashes the program instead
	return &commonpb.Payload{
		Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encoding)},
		Data:     s.aead.Seal(nonce, nonce, plain, s.place(value)),
	}, nil
}

// FromPayload implements converter.PayloadConverter.
func (s sealer) FromPayload(p *commonpb.Payload, valuePtr any) error {
	if len(p.GetData()) < chacha20poly1305.NonceSizeX {
		return errors.New("decode payload: it is too short")
	}
	nonce, sealed := p.Data[:chacha20poly1305.NonceSizeX], p.Data[chacha20poly1305.NonceSizeX:]
	plain, err := s.aead.Open(nil, nonce, sealed, s.place(valuePtr))
	if err != nil {
		return fmt.Errorf("decode payload of workflow %q as %T: %w", s.workflow(), valuePtr, err)
	}
	var payload commonpb.Payload
	if err := proto.Unmarshal(plain, &payload); err != nil {
		return fmt.Errorf("decode payload: %w", err)
	}
	return converter.GetDefaultDataConverter().FromPayload(&payload, valuePtr)
}

// ToString implements converter.PayloadConverter. What is printed is for people, who
// do not say which type they expect.
func (sealer) ToString(*commonpb.Payload) string { return "[encrypted]" }

// errForeign is the error for payloads that do not open.
var errForeign = errors.New("a payload was changed, or belongs elsewhere")

// place is the additional data: where a value, or what a pointer points to, belongs.
// Pointers count as what they point to, because the SDK encodes values and decodes to
// pointers.
func (s sealer) place(value any) []byte {
	kind := reflect.TypeOf(value)
	for kind != nil && kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	return fmt.Appendf(nil, "%q %q %q", s.namespace, s.workflow(), fmt.Sprint(kind))
}
