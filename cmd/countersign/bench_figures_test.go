//go:build bench

package main

import (
	"crypto/x509"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/countersign-dev/countersign/engine"
)

func countRunning(namespace string) *workflowservice.CountWorkflowExecutionsRequest {
	return &workflowservice.CountWorkflowExecutionsRequest{Namespace: namespace, Query: `ExecutionStatus = "Running" AND WorkflowType = "Download"`}
}

// callers compares mint and redeem with the floor, and mint at 32 callers with
// the bare workflow of the same steps, measured in turn.
func (b *bench) callers(floor map[int]timing) {
	tokens, mint := b.mints("fullchain", 1, 550)
	redeem := b.redeem(1, tokens)
	b.drain()
	b.add("mint, 1 caller, p50", ms(mint), "ms", 0, false)
	b.add("redeem fullchain, 1 caller, p50", ms(redeem), "ms", 0, false)
	b.add("mint p50 / floor p50, 1 caller", ms(mint)/ms(floor[1]), "×", 1.5, false)
	b.add("redeem fullchain p50 / floor p50, 1 caller", ms(redeem)/ms(floor[1]), "×", 0.5, false)

	const callers, n = 32, 1000
	var bare timing
	mint, redeem = timing{}, timing{}
	for range 3 {
		tokens, m := b.mints("fullchain", callers, n)
		r := b.redeem(callers, tokens)
		b.drain()
		alone := b.measure(callers, n, func(i int) (err error) {
			tokens[i], err = b.bare()
			return err
		})
		b.redeem(callers, tokens)
		b.drain()
		mint, redeem, bare = better(mint, m), better(redeem, r), better(bare, alone)
	}
	b.add("mint, 32 callers", mint.rate, "/s", 0, false)
	b.add("redeem fullchain, 32 callers", redeem.rate, "/s", 0, false)
	b.add("bare workflow with the mint's steps, 32 callers", bare.rate, "/s", 0, false)
	b.add("mint rate / bare workflow rate, 32 callers", mint.rate/bare.rate, "×", 0.9, true)
}

// bare starts the request's own workflow and waits for its decision, with
// nothing of HTTP, authentication or checks in front.
func (b *bench) bare() (string, error) {
	now := b.downloads.Clock()
	token, id := engine.NewToken(), engine.NewID("req")
	operator := engine.Actor{Type: engine.ActorUser, ID: "bench", Name: "bench", Person: "bench"}
	_, err := b.workflows.Start(b.t.Context(), engine.Order{
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

// formats measures each format alone, and what PKCS#12 costs over its library.
func (b *bench) formats(floor map[int]timing) {
	p50 := map[string]float64{}
	for _, f := range b.host.Formats() {
		for _, callers := range []int{1, 32} {
			tokens, _ := b.mints(f.ID, 32, 200)
			redeem := b.redeem(callers, tokens)
			b.drain()
			b.add(fmt.Sprintf("redeem %s, %d callers, p50 / floor p50", f.ID, callers), ms(redeem)/ms(floor[callers]), "×", 0, false)
			if callers == 1 {
				p50[f.ID] = ms(redeem)
			}
		}
	}
	library, trip := b.library(), b.roundTrip()
	b.add("go-pkcs12 alone, p50", library, "ms", 0, false)
	b.add("one plugin round trip, p50", trip, "ms", 0, false)
	b.add("redeem pkcs12 / (library + round trip + redeem fullchain)", p50["pkcs12"]/(library+trip+p50["fullchain"]), "×", 1.3, false)
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

func (b *bench) library() float64 {
	c, der := b.material()
	return ms(b.measure(1, 300, func(int) error {
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
	}))
}

func (b *bench) roundTrip() float64 {
	c, _ := b.material()
	job := engine.RenderJob{Format: "cert", Name: c.Name, Leaf: c.Leaf, Chain: c.Chain, Options: "{}"}
	return ms(b.measure(1, 1000, func(int) error {
		_, err := b.host.Render(b.t.Context(), job)
		return err
	}))
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
	verdict, err := engine.VerifyAudit(b.t.Context(), b.store, b.project.ID, engine.AuditHead{})
	must(b.t, err)
	if !verdict.OK {
		b.t.Fatalf("the audit chain is broken: %+v", verdict)
	}
	b.add("audit entries verified", float64(verdict.Entries), "", 0, false)
}
