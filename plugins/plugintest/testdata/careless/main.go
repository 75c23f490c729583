// Command careless is a plugin whose formats each break one rule. The conformance
// checks must find that fault and no other.
package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

func main() { sdk.Serve(&plugin{}) }

type plugin struct {
	count atomic.Int64
	hurt  atomic.Bool // set by a cancelled render
	mu    sync.Mutex
	leaf  []byte // the leaf of a previous job
	hoard []byte // the private key of a previous job
}

// Formats implements sdk.Renderer.
func (*plugin) Formats() []sdk.Format {
	formats := []sdk.Format{
		{ID: "fine", Filename: "fine.pem"}, {ID: "sloppy", Filename: "sloppy.pem"}, {ID: "stranger", Filename: "stranger.pem"},
		{ID: "fussy"}, {ID: "chainless", NeedsChain: true}, {ID: "moody"},
		{ID: "optional", OptionsSchema: json.RawMessage(`{"properties":{"x":{"type":"string","enum":["a","b"]}},"required":["x"]}`)},
		{ID: "verbatim"}, {ID: "gullible", NeedsKey: true}, {ID: "brittle"}, {ID: "sulky"}, {ID: "tangled"},
		{ID: "recalls"}, {ID: "hoards", NeedsKey: true}, {ID: "leaky", NeedsKey: true}, {ID: "bare", NeedsKey: true, NeedsPassphrase: true},
		{ID: "loop-a", Includes: []string{"loop-b"}}, {ID: "loop-b", Includes: []string{"loop-a"}},
		{ID: "takes-both", Includes: []string{"fine", "chainless", "key", "cert", "elsewhere"}},
	}
	for i := range formats {
		if formats[i].Filename == "" {
			formats[i].Filename = formats[i].ID + ".out"
		}
		formats[i].MediaType = "application/octet-stream"
	}
	return formats
}

// Render implements sdk.Renderer.
func (p *plugin) Render(ctx context.Context, job sdk.Job) ([]byte, error) {
	leaf, _, err := job.Certificates()
	if err != nil {
		if job.Format == "brittle" {
			os.Exit(1)
		}
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: job.Leaf})
	if len(job.PrivateKey) > 0 || slices.Contains([]string{"gullible", "hoards", "leaky", "bare"}, job.Format) {
		if err := checkKey(job, leaf); err != nil {
			return nil, err
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: job.PrivateKey})...)
	}
	return p.breakRule(ctx, job, leaf, text)
}

func checkKey(job sdk.Job, leaf *x509.Certificate) error {
	if job.Format == "gullible" {
		_, err := x509.ParsePKCS8PrivateKey(job.PrivateKey)
		return err
	}
	_, err := job.Key(leaf)
	return err
}

func (p *plugin) breakRule(ctx context.Context, job sdk.Job, leaf *x509.Certificate, text []byte) ([]byte, error) {
	switch job.Format {
	case "sloppy":
		return []byte("-----BEGIN NOTHING"), nil
	case "stranger":
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.leaf == nil {
			p.leaf = text
		}
		return p.leaf, nil
	case "fussy":
		if leaf.PublicKeyAlgorithm == x509.Ed25519 && len(job.Chain) == 3 {
			return nil, errors.New("this job is refused on purpose")
		}
	case "moody":
		return fmt.Appendf(text, "render %d\n", p.count.Add(1)), nil
	case "optional":
		var o struct{ X string }
		if err := json.Unmarshal(job.Options, &o); err != nil || o.X != "b" {
			return nil, fmt.Errorf("x is %q", o.X)
		}
	case "verbatim":
		return append([]byte("# "+job.Name+"\n"), text...), nil
	case "sulky":
		return text, p.sulk(ctx)
	case "tangled":
		p.tangle(text)
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.leaf, nil
	case "hoards":
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hoard = job.PrivateKey
	case "recalls":
		p.mu.Lock()
		defer p.mu.Unlock()
		return append(text, p.hoard...), nil
	case "leaky":
		fmt.Fprintf(os.Stderr, "%x\n", job.PrivateKey)
	case "takes-both":
		for _, name := range []string{"cert.pem", "elsewhere.bin", "fine.pem", "key.pem", "chainless.out"} {
			text = append(text, job.Files[name]...)
		}
	}
	return text, nil
}

func (p *plugin) sulk(ctx context.Context) error {
	select {
	case <-ctx.Done():
		p.hurt.Store(true)
		return ctx.Err()
	case <-time.After(5 * time.Millisecond):
	}
	if p.hurt.Load() {
		return errors.New("a previous render was cancelled")
	}
	return nil
}

func (p *plugin) tangle(text []byte) {
	p.mu.Lock()
	p.leaf = text
	p.mu.Unlock()
	time.Sleep(5 * time.Millisecond)
}
