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

// maxChain is the longest chain of the jobs that every format renders.
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

// describeJob names a job in a detail.
func describeJob(j sdk.Job) string { return fmt.Sprintf("%s key, chain of %d", j.Name, len(j.Chain)) }

// fits reports whether callers may ask for the format with this job.
func fits(f *pluginv1.Format, j sdk.Job) bool { return !f.GetNeedsChain() || len(j.Chain) > 0 }

// refusal is a plugin's proper answer that it does not render a job, as opposed to
// the end of its process, a panic or silence.
type refusal struct{ error }

// refusalCodes are the codes with which a plugin refuses. Package sdk uses the first.
// The codes that a gRPC library makes of a crash are not among them.
var refusalCodes = []codes.Code{codes.FailedPrecondition, codes.InvalidArgument, codes.OutOfRange, codes.NotFound, codes.Unimplemented}

// render has the plugin make a file, after the files of the included formats.
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
		name, file := substitute(id, j)
		if own := s.declared(id); own != nil && fits(own, j) {
			ownJob := j
			var err error
			if ownJob.Options, err = optionsFor(own, j.Options); err == nil {
				file, err = s.renderWithin(ctx, own, ownJob, append(path, f.GetId()))
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
	s.secret.addJob(f, j)
	file, err := s.trial.Render(ctx, f, renderJob(j), files)
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	if len(file) == 0 {
		return nil, errors.New("the file is empty")
	}
	return file, nil
}

// failure explains a failed render. The plugin's message counts as output, because a
// host would log a part of it.
func (s *suite) failure(ctx context.Context, err error) error {
	answer := status.Convert(err)
	_, _ = s.output.Write([]byte(answer.Message())) // it writes to memory
	text := fmt.Errorf("%s: %s", answer.Code(), printable(answer.Message()))
	switch {
	case slices.Contains(refusalCodes, answer.Code()):
		return refusal{text}
	case answer.Code() == codes.Unavailable && s.trial.ExitReason() != "":
		return fmt.Errorf("the plugin ended: %s", s.trial.ExitReason())
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", s.Deadline)
	case answer.Code() == codes.ResourceExhausted:
		return fmt.Errorf("the file is larger than hosts accept (%w)", text)
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

// substitute returns a file in place of that of another plugin's format. The built-in
// formats in PEM get their real content. The file is nil if the certificate has no
// such file.
func substitute(id string, j sdk.Job) (name string, file []byte) {
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
	return id + ".bin", append([]byte("substitute for "+id+"\n"), sum[:]...)
}

// keyFormat is the built-in format whose file is the private key.
const keyFormat = "key"

// needs returns which secrets the format and those it includes need, and whether its
// file may contain the unencrypted key. A passphrase would encrypt it.
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
