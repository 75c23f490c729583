package workflows

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"golang.org/x/crypto/chacha20poly1305"
	"google.golang.org/protobuf/proto"
)

// encoding marks an encrypted payload in its metadata.
const encoding = "binary/countersign-xchacha20poly1305"

// Codec encrypts workflow payloads with XChaCha20-Poly1305 under one key of the
// installation; each has its own 192-bit random nonce in front.
type Codec struct{ aead cipher.AEAD }

var _ converter.PayloadCodec = (*Codec)(nil)

// NewCodec takes a 32-byte key.
func NewCodec(key []byte) (*Codec, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("payload codec: %w", err)
	}
	return &Codec{aead}, nil
}

// Encode implements converter.PayloadCodec.
func (c *Codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	sealed := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		plain, err := proto.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("encode payload: %w", err)
		}
		nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plain)+c.aead.Overhead())
		_, _ = rand.Read(nonce) // crypto/rand.Read never fails: it crashes the program instead
		sealed[i] = &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encoding)},
			Data:     c.aead.Seal(nonce, nonce, plain, nil),
		}
	}
	return sealed, nil
}

// Decode implements converter.PayloadCodec. A payload that is not encrypted is
// an error: only processes that have the key write these histories.
func (c *Codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	opened := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		if string(p.GetMetadata()[converter.MetadataEncoding]) != encoding || len(p.GetData()) < chacha20poly1305.NonceSizeX {
			return nil, errors.New("decode payload: it is not encrypted")
		}
		nonce, sealed := p.Data[:chacha20poly1305.NonceSizeX], p.Data[chacha20poly1305.NonceSizeX:]
		plain, err := c.aead.Open(nil, nonce, sealed, nil)
		if err != nil {
			return nil, fmt.Errorf("decode payload: %w", err)
		}
		opened[i] = &commonpb.Payload{}
		if err := proto.Unmarshal(plain, opened[i]); err != nil {
			return nil, fmt.Errorf("decode payload: %w", err)
		}
	}
	return opened, nil
}
