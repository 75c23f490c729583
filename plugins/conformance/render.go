package conformance

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
	"github.com/countersign-dev/countersign/plugins/sdk/specimen"
)

// maxChain is the longest chain that every format is tried with.
const maxChain = 3

// makeJobs makes a job for every kind of key with every length of chain, each
// with a passphrase of its own.
func makeJobs() ([]sdk.Job, error) {
	var jobs []sdk.Job
	for _, kind := range specimen.Kinds {
		for chain := range maxChain + 1 {
			j, err := specimen.New(kind, chain)
			if err != nil {
				return nil, err
			}
			j.Passphrase = rand.Text()
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}

// called says which job it is.
func called(j sdk.Job) string { return fmt.Sprintf("%s key, chain of %d", j.Name, len(j.Chain)) }

// fits tells whether the format can be asked for with the job.
func fits(f *pluginv1.Format, j sdk.Job) bool { return !f.GetNeedsChain() || len(j.Chain) > 0 }

// refusal is a plugin's answer that it does not render a job: a decent one, not
// the end of its process, a panic or silence.
type refusal struct{ error }

// decent are the codes with which a plugin refuses. Package sdk uses the first;
// what a gRPC library makes of a crash is not among them.
var decent = []codes.Code{codes.FailedPrecondition, codes.InvalidArgument, codes.OutOfRange, codes.NotFound, codes.Unimplemented}

// render has the plugin make a file, and before it the included ones.
func (s *suite) render(ctx context.Context, f *pluginv1.Format, j sdk.Job) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Deadline)
	defer cancel()
	return s.renderWithin(ctx, f, j, nil)
}

func (s *suite) renderWithin(ctx context.Context, f *pluginv1.Format, j sdk.Job, path []string) ([]byte, error) {
	if slices.Contains(path, f.GetId()) {
		return nil, errors.New("its includes form a cycle")
	}
	files := map[string][]byte{}
	for _, id := range f.GetIncludes() {
		name, file := standIn(id, j)
		if own := s.declared(id); own != nil && fits(own, j) {
			theirs := j
			var err error
			if theirs.Options, err = fitted(own, j.Options); err == nil {
				file, err = s.renderWithin(ctx, own, theirs, append(path, f.GetId()))
			}
			if err != nil {
				return nil, fmt.Errorf("included format %s: %w", id, err)
			}
			name = own.GetFilename()
		} else if own != nil {
			continue
		}
		if file != nil {
			files[name] = file
		}
	}
	s.secret.given(f, j)
	file, err := s.trial.Render(ctx, f, asked(j), files)
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	if len(file) == 0 {
		return nil, errors.New("the file is empty")
	}
	return file, nil
}

// failure is what a failed render means. What the plugin says with it is kept:
// a host would log some of it.
func (s *suite) failure(ctx context.Context, err error) error {
	said := status.Convert(err)
	_, _ = s.heard.Write([]byte(said.Message())) // it keeps it in memory
	text := fmt.Errorf("%s: %s", said.Code(), printable(said.Message()))
	switch {
	case slices.Contains(decent, said.Code()):
		return refusal{text}
	case said.Code() == codes.Unavailable && s.trial.Fate() != "":
		return fmt.Errorf("the plugin ended: %s", s.trial.Fate())
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", s.Deadline)
	case said.Code() == codes.ResourceExhausted:
		return fmt.Errorf("the file is larger than a host takes (%w)", text)
	}
	return text
}

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
}

// standIn is the file of a format that another plugin renders: the built-in ones
// in PEM as they are, something of its own for any other. A file that the
// certificate does not have is nil.
func standIn(id string, j sdk.Job) (name string, file []byte) {
	certificates := func(ders ...[]byte) (text []byte) {
		for _, der := range ders {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		return text
	}
	switch id {
	case "cert":
		return "cert.pem", certificates(j.Leaf)
	case "chain":
		return "chain.pem", certificates(j.Chain...)
	case "fullchain":
		return "fullchain.pem", certificates(append([][]byte{j.Leaf}, j.Chain...)...)
	case keyFormat:
		return "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: j.PrivateKey})
	}
	sum := sha256.Sum256(j.Leaf)
	return id + ".bin", append([]byte("stands in for "+id+"\n"), sum[:]...)
}

// keyFormat is the built-in format that is the key and nothing else.
const keyFormat = "key"

// needs tells what the format takes, with those it includes, and whether its file
// may hold the key as it is: not where a passphrase is there to encrypt it.
func (s *suite) needs(f *pluginv1.Format, path ...string) (key, passphrase, holdsKey bool) {
	key, passphrase = f.GetNeedsKey(), f.GetNeedsPassphrase()
	holdsKey = key && !passphrase
	for _, id := range f.GetIncludes() {
		own := s.declared(id)
		switch {
		case own != nil && !slices.Contains(path, id):
			k, p, h := s.needs(own, append(path, f.GetId())...)
			key, passphrase, holdsKey = key || k, passphrase || p, holdsKey || h
		case own == nil && id == keyFormat:
			key, holdsKey = true, true
		}
	}
	return key, passphrase, holdsKey
}
