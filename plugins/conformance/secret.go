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

// secrets are the keys and passphrases that the plugin was given, each with the
// shapes in which it could show up elsewhere.
type secrets struct {
	mu     sync.Mutex
	shapes map[string][][]byte
	what   map[string]string
}

// given notes what the plugin gets to see with a job.
func (s *secrets) given(f *pluginv1.Format, j sdk.Job) {
	if f.GetNeedsKey() {
		s.add(string(j.PrivateKey), "the private key", keyParts(j.PrivateKey))
	}
	if f.GetNeedsPassphrase() {
		s.add(j.Passphrase, "the passphrase", [][]byte{[]byte(j.Passphrase), utf16BE(j.Passphrase)})
	}
}

// shortest is the length, in bytes, below which a secret shows up by chance.
const shortest = 12

func (s *secrets) add(secret, what string, parts [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.what[secret]; known {
		return
	}
	if s.what == nil {
		s.shapes, s.what = map[string][][]byte{}, map[string]string{}
	}
	s.what[secret] = what
	for _, part := range parts {
		if len(part) < shortest {
			continue
		}
		s.shapes[secret] = append(s.shapes[secret], part, []byte(hex.EncodeToString(part)), bytes.ToUpper([]byte(hex.EncodeToString(part))))
		for shift := range 3 { // wherever it stands in what is encoded
			s.shapes[secret] = append(s.shapes[secret], inBase64(part, shift))
		}
	}
}

// inBase64 is how a part looks in base64 (RFC 4648, section 4) shift bytes into
// a group, without the characters that its neighbours have a share in.
func inBase64(part []byte, shift int) []byte {
	text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), part...))
	return []byte(text[(shift*8+5)/6 : len(text)-1])
}

// lookIn fails if a secret is in the text, in any shape, but for an own one.
func (s *secrets) lookIn(text, own []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	dense := unbroken(text)
	for secret, shapes := range s.shapes {
		if own != nil && secret == string(own) {
			continue
		}
		for _, shape := range shapes {
			if bytes.Contains(text, shape) || bytes.Contains(dense, shape) {
				return fmt.Errorf("%s of a job is in it", s.what[secret])
			}
		}
	}
	return nil
}

// unbroken is text without line breaks, escaped ones included: encodings put
// them where they like.
func unbroken(text []byte) []byte {
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte(`\r`), nil), []byte(`\n`), nil)
	return slices.DeleteFunc(text, func(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' })
}

// keyParts are the numbers that make a key private. Encodings differ, but each
// holds these.
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

// utf16BE is how PKCS#12 and Windows write text.
func utf16BE(text string) (encoded []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		encoded = append(encoded, byte(unit>>8), byte(unit)) //nolint:gosec // both halves
	}
	return encoded
}

// leaks fails if a file holds a secret that it should not: any but the key of
// its job, where the format holds that.
func (t *trying) leaks(file []byte, j sdk.Job) error {
	var own []byte
	if t.holds {
		own = j.PrivateKey
	}
	found := t.suite.secret.lookIn(file, own)
	inside, _ := unzip(file) // what is no archive has nothing packed in it
	for _, entry := range inside {
		found = errors.Join(found, t.suite.secret.lookIn(entry.content, own))
	}
	return found
}

// secretsInFile looks in files that were made before and after the plugin was
// given other jobs' secrets.
func (t *trying) secretsInFile(ctx context.Context) (string, error) {
	for _, other := range t.rendering {
		_, _ = other.render(ctx, other.f, other.jobs[t.usual()]) // what fails has failed before
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
			return "", fmt.Errorf("%s: %w", called(t.jobs[i]), err)
		}
	}
	return "no secret is where it should not be", nil
}
