//go:build bench

package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/countersign-dev/countersign/engine"
)

func countRunning(namespace string) *workflowservice.CountWorkflowExecutionsRequest {
	return &workflowservice.CountWorkflowExecutionsRequest{Namespace: namespace, Query: `ExecutionStatus = "Running" AND WorkflowType = "Download"`}
}

// rounds is how often compared things are measured in turn; only the fastest round
// of each counts, so that other work of the machine does not.
const rounds = 3

// callers compares mint and redeem with the floor and, at 32 callers, mint with
// the bare workflow of the same steps.
func (b *bench) callers() {
	b.startFloor()
	b.floor(32, 1000) // warm
	for _, callers := range []int{1, 32} {
		n := 300 * (1 + callers/16)
		var floor, mint, redeem, bare timing
		for range rounds {
			floor = better(floor, b.floor(callers, n))
			b.settle()
			tokens, m := b.mints("fullchain", callers, n)
			b.settle()
			mint, redeem = better(mint, m), better(redeem, b.redeem(callers, tokens))
			b.drain()
			b.settle()
			bare = better(bare, b.measure(callers, n, func(i int) (err error) {
				tokens[i], err = b.bare()
				return err
			}))
			b.redeem(callers, tokens)
			b.drain()
			b.settle()
		}
		b.add(fmt.Sprintf("floor (eager workflow, one no-op local activity), %d callers, p50", callers), ms(floor), "ms", 0, false)
		b.add(fmt.Sprintf("mint, %d callers, p50", callers), ms(mint), "ms", 0, false)
		b.add(fmt.Sprintf("redeem fullchain, %d callers, p50", callers), ms(redeem), "ms", 0, false)
		if callers == 1 {
			b.add("mint p50 / floor p50, 1 caller", ms(mint)/ms(floor), "×", 1.5, false)
			b.add("redeem fullchain p50 / floor p50, 1 caller", ms(redeem)/ms(floor), "×", 0.5, false)
			continue
		}
		b.add("mint, 32 callers", mint.rate, "/s", 0, false)
		b.add("redeem fullchain, 32 callers", redeem.rate, "/s", 0, false)
		b.add("bare workflow with the mint's steps, 32 callers", bare.rate, "/s", 0, false)
		b.add("mint rate / bare workflow rate, 32 callers", mint.rate/bare.rate, "×", 0.9, true)
	}
}

// settle lets Temporal finish what was measured before left it with.
func (b *bench) settle() { time.Sleep(2 * time.Second) }

// bare starts the request's own workflow and waits for its decision, without HTTP,
// authentication or checks.
func (b *bench) bare() (string, error) {
	now := b.downloads.Clock()
	token, id := engine.NewToken(), engine.NewID("req")
	operator := engine.Actor{Type: engine.ActorUser, ID: benchPerson, Name: benchPerson, Person: benchPerson}
	_, err := b.workflows.Start(b.t.Context(), engine.WorkflowInput{
		Request: engine.Request{
			ID: id, ProjectID: b.project.ID, CertificateID: b.boot.Certificates[0].ID, Requester: operator,
			Format: "fullchain", Filename: "fullchain.pem", Options: "{}", TTLSeconds: 300, CreatedAt: now,
		},
		Token: engine.Token{
			Digest: engine.SecretDigest(token), RequestID: id, ProjectID: b.project.ID,
			CertificateID: b.boot.Certificates[0].ID, Requester: operator, Format: "fullchain", Options: "{}",
		},
		Role: engine.RoleOperator, ProjectName: b.project.Name, AnswerBy: now.Add(engine.AnswerWithin),
	})
	return token.Reveal(), err
}

// formats measures each format alone, and what PKCS#12 costs over its parts.
func (b *bench) formats() {
	one, many := map[string]timing{}, map[string]timing{}
	var library, trip timing
	for range rounds {
		for _, f := range b.host.Formats() {
			for callers, p50 := range map[int]map[string]timing{1: one, 32: many} {
				tokens, _ := b.mints(f.ID, 32, 200)
				b.settle()
				p50[f.ID] = better(p50[f.ID], b.redeem(callers, tokens))
				b.drain()
			}
		}
		library, trip = better(library, b.library()), better(trip, b.roundTrip())
	}
	for _, f := range b.host.Formats() {
		b.add("redeem "+f.ID+", 1 caller, p50", ms(one[f.ID]), "ms", 0, false)
		b.add("redeem "+f.ID+", 32 callers", many[f.ID].rate, "/s", 0, false)
	}
	b.add("go-pkcs12 alone, p50", ms(library), "ms", 0, false)
	b.add("one plugin round trip, p50", ms(trip), "ms", 0, false)
	b.add("redeem pkcs12 / (library + round trip + redeem fullchain)", ms(one["pkcs12"])/(ms(library)+ms(trip)+ms(one["fullchain"])), "×", 1.3, false)
}

// material opens the RSA sample's parts.
func (b *bench) material() (engine.Certificate, []byte) {
	c, err := b.store.Certificate(b.t.Context(), b.project.ID, b.boot.Certificates[0].ID)
	must(b.t, err)
	sealed, err := b.store.SealedKey(b.t.Context(), c.ID)
	must(b.t, err)
	key, err := b.keys.Open(b.t.Context(), engine.KeyIdentity(c.ProjectID, c.ID), sealed)
	must(b.t, err)
	return c, key
}

func (b *bench) library() timing {
	c, der := b.material()
	return b.measure(1, 300, func(int) error {
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return err
		}
		leaf, err := x509.ParseCertificate(c.Leaf)
		if err != nil {
			return err
		}
		issuer, err := x509.ParseCertificate(c.Chain[0])
		if err != nil {
			return err
		}
		_, err = pkcs12.Modern2023.Encode(key, leaf, []*x509.Certificate{issuer}, passphrase)
		return err
	})
}

func (b *bench) roundTrip() timing {
	c, _ := b.material()
	job := engine.RenderJob{Format: "cert", Name: c.Name, Leaf: c.Leaf, Chain: c.Chain, Options: "{}"}
	return b.measure(1, 1000, func(int) error {
		_, err := b.host.Render(b.t.Context(), job)
		return err
	})
}

// plugins measures what a plugin's process adds to a file of 8 KiB over the same
// function called in this one.
func (b *bench) plugins() {
	c, _ := b.material()
	job := engine.RenderJob{Format: "fullchain", Name: c.Name, Leaf: c.Leaf, Chain: c.Chain, Options: "{}"}
	encode := func() []byte {
		var file bytes.Buffer
		for _, der := range append([][]byte{job.Leaf}, job.Chain...) {
			must(b.t, pem.Encode(&file, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
		}
		return file.Bytes()
	}
	for len(encode()) < 8<<10 {
		job.Chain = append(job.Chain, job.Chain[0])
	}
	var there, here timing
	for range rounds {
		there = better(there, b.measure(1, 1000, func(int) error {
			file, err := b.host.Render(b.t.Context(), job)
			if err == nil && len(file) < 8<<10 {
				err = fmt.Errorf("the file has %d bytes", len(file))
			}
			return err
		}))
		here = better(here, b.measure(1, 1000, func(int) error { encode(); return nil }))
	}
	b.add("render of 8 KiB through a plugin over the same in process, 1 caller, p50", ms(there)-ms(here), "ms", 1, false)
}

// drain waits until no request's workflow is open; all tokens were used.
func (b *bench) drain() time.Duration {
	began := time.Now()
	for b.running() > 0 && time.Since(began) < 10*time.Minute {
		time.Sleep(250 * time.Millisecond)
	}
	return time.Since(began)
}

// sustained redeems a long burst at 32 callers and waits for every workflow.
func (b *bench) sustained() {
	tokens, mint := b.mints("fullchain", 32, *benchBurst)
	redeem := b.redeem(32, tokens)
	b.add(fmt.Sprintf("mint, 32 callers, over %d", *benchBurst), mint.rate, "/s", 0, false)
	b.add(fmt.Sprintf("redeem fullchain, 32 callers, over %d", *benchBurst), redeem.rate, "/s", 0, false)
	b.add("redeem rate / mint rate, sustained", redeem.rate/mint.rate, "×", 5, true)
	closing := b.drain()
	b.add("workflows still open after it", float64(b.running()), "", 0.5, false)
	b.add("closing them took, after the last redemption", closing.Seconds(), "s", 0, false)
	b.memory(fmt.Sprintf("resident memory after %d requests, load generator included", *benchBurst))
	verdict, err := engine.VerifyAudit(b.t.Context(), b.store, b.auditKey, b.project.ID, engine.AuditHead{})
	must(b.t, err)
	if !verdict.OK {
		b.t.Fatalf("the audit chain is broken: %+v", verdict)
	}
	b.add("audit entries verified", float64(verdict.Entries), "", 0, false)
}
