package conformance

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"unicode/utf16"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// secrets holds the keys and passphrases that the plugin has received, each with the
// encodings in which it could appear elsewhere.
type secrets struct {
	mu        sync.Mutex
	encodings map[string][][]byte
	names     map[string]string
}

// addJob adds the secrets that the plugin receives with a job.
func (s *secrets) addJob(f *pluginv1.Format, j sdk.Job) {
	if f.GetNeedsKey() {
		s.add(string(j.PrivateKey), "the private key", keyParts(j.PrivateKey))
	}
	if f.GetNeedsPassphrase() {
		s.add(j.Passphrase, "the passphrase", [][]byte{[]byte(j.Passphrase), utf16BE(j.Passphrase)})
	}
}

// minLength is the shortest secret to look for, in bytes. A shorter one could appear
// by chance.
const minLength = 12

func (s *secrets) add(secret, name string, parts [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.names[secret]; known {
		return
	}
	if s.names == nil {
		s.encodings, s.names = map[string][][]byte{}, map[string]string{}
	}
	s.names[secret] = name
	for _, part := range parts {
		if len(part) < minLength {
			continue
		}
		s.encodings[secret] = append(s.encodings[secret], part, []byte(hex.EncodeToString(part)), bytes.ToUpper([]byte(hex.EncodeToString(part))))
		for shift := range 3 { // its position in the encoded text is unknown
			s.encodings[secret] = append(s.encodings[secret], inBase64(part, shift))
		}
	}
}

// inBase64 returns the base64 (RFC 4648, section 4) of a part that starts shift bytes
// into a group, without the characters that also depend on its neighbours.
func inBase64(part []byte, shift int) []byte {
	text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), part...))
	return []byte(text[(shift*8+5)/6 : len(text)-1])
}

// findIn returns an error if the text contains a secret other than own, in any
// encoding.
func (s *secrets) findIn(text, own []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	joined := withoutBreaks(text)
	for secret, encodings := range s.encodings {
		if own != nil && secret == string(own) {
			continue
		}
		for _, encoded := range encodings {
			if bytes.Contains(text, encoded) || bytes.Contains(joined, encoded) {
				return fmt.Errorf("it contains %s of a job", s.names[secret])
			}
		}
	}
	return nil
}

// withoutBreaks returns the text without white space and escaped line breaks, which
// encodings may insert anywhere.
func withoutBreaks(text []byte) []byte {
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte(`\r`), nil), []byte(`\n`), nil)
	return slices.DeleteFunc(text, func(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' })
}

// keyParts returns the secret numbers of a key, which all encodings contain.
func keyParts(der []byte) [][]byte {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil
	}
	switch key := parsed.(type) {
	case *rsa.PrivateKey:
		return [][]byte{key.D.Bytes(), key.Primes[0].Bytes(), key.Primes[1].Bytes()}
	case *ecdsa.PrivateKey:
		if d, err := key.Bytes(); err == nil {
			return [][]byte{bytes.TrimLeft(d, "\x00")}
		}
	case ed25519.PrivateKey:
		return [][]byte{key.Seed()}
	}
	return nil
}

// utf16BE returns the encoding of text in PKCS#12 and Windows.
func utf16BE(text string) (encoded []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		encoded = append(encoded, byte(unit>>8), byte(unit)) //nolint:gosec // both bytes
	}
	return encoded
}

// leaks returns an error if a file contains a secret other than the key of its job, or
// that key although the format must not contain it.
func (t *formatCheck) leaks(file []byte, j sdk.Job) error {
	var own []byte
	if t.holds {
		own = j.PrivateKey
	}
	found := t.suite.secret.findIn(file, own)
	inside, _ := unzip(file) // other files contain no entries
	for _, entry := range inside {
		found = errors.Join(found, t.suite.secret.findIn(entry.content, own))
	}
	return found
}

// secretsInFile looks into files that were made before and after the plugin received
// the secrets of other jobs.
func (t *formatCheck) secretsInFile(ctx context.Context) (string, error) {
	for _, other := range t.rendering {
		_, _ = other.render(ctx, other.f, other.jobs[t.usual()]) // a failure is in the report already
	}
	for i, file := range t.files {
		if file == nil {
			continue
		}
		later, err := t.render(ctx, t.f, t.jobs[i])
		if err == nil {
			err = errors.Join(t.leaks(file, t.jobs[i]), t.leaks(later, t.jobs[i]))
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", describeJob(t.jobs[i]), err)
		}
	}
	return "no file contains a secret that it must not contain", nil
}
