//go:build bench

package main

import (
	"fmt"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// growth compares mint and redeem with few requests stored and with many. A
// second server on a new folder has the few; they are measured in
// turn, so that other work of the machine affects both equally.
func (b *bench) growth() {
	few := startBench(b.t)
	few.seed(1000, 100)
	stored := *benchBurst
	b.seed(*benchStored-stored, 0)
	for _, callers := range []int{1, 32} {
		var mint, redeem [2]timing
		for range rounds {
			for i, server := range []*bench{few, b} {
				tokens, m := server.mints("fullchain", callers, 300)
				r := server.redeem(callers, tokens)
				server.drain()
				mint[i], redeem[i] = better(mint[i], m), better(redeem[i], r)
			}
		}
		b.add(fmt.Sprintf("mint p50 with %d stored / with 1,000, %d callers", *benchStored, callers), ms(mint[1])/ms(mint[0]), "×", 1.2, false)
		b.add(fmt.Sprintf("redeem p50 with %d stored / with 1,000, %d callers", *benchStored, callers), ms(redeem[1])/ms(redeem[0]), "×", 1.2, false)
	}
}

// better returns the faster of two measurements of the same thing.
func better(a, b timing) timing {
	if a.p50 == 0 || b.p50 < a.p50 {
		return b
	}
	return a
}

// seed stores n finished requests, throughTemporal of them by HTTP calls.
func (b *bench) seed(n, throughTemporal int) {
	if throughTemporal > 0 {
		tokens, _ := b.mints("fullchain", 32, throughTemporal)
		b.redeem(32, tokens)
		b.drain()
	}
	began := time.Now()
	b.measure(64, n-throughTemporal, func(i int) error { return b.store1(i) })
	b.add(fmt.Sprintf("stored %d finished requests through the store", n-throughTemporal), time.Since(began).Seconds(), "s", 0, false)
}

// store1 stores one request from decision to consumption.
func (b *bench) store1(i int) error {
	ctx, now := b.t.Context(), b.downloads.Clock()
	digest, id := engine.SecretDigest(engine.NewToken()), engine.NewID("req")
	by := engine.Actor{Type: engine.ActorUser, ID: fmt.Sprint("user_", i%100), Name: "seed", Person: fmt.Sprint("user_", i%100)}
	entry := func(action, ref string) engine.Record {
		return engine.Record{Audit: engine.AuditEntry{
			Ref: ref, ProjectID: b.project.ID, Time: now, Action: action, Outcome: engine.AuditSuccess, Actor: by,
			CertificateID: b.boot.Certificates[0].ID, RequestID: id, Format: "fullchain",
		}}
	}
	token := engine.Token{
		Digest: digest, RequestID: id, ProjectID: b.project.ID, CertificateID: b.boot.Certificates[0].ID, Requester: by,
		Format: "fullchain", Options: "{}", IssuedAt: now, ExpiresAt: now.Add(5 * time.Minute),
	}
	r := engine.Request{
		ID: id, Version: 1, ProjectID: b.project.ID, CertificateID: token.CertificateID, Requester: by, Format: "fullchain",
		Filename: "fullchain.pem", Options: "{}", Status: engine.StatusIssued, TokenDigest: digest, CreatedAt: now, UpdatedAt: now,
	}
	opened := entry(engine.ActionDownloadRequested, "request/"+id)
	if _, err := b.store.OpenRequest(ctx, engine.Transition{Request: r, Token: &token, Record: &opened}); err != nil {
		return err
	}
	s := engine.Settlement{
		Digest: digest, Kind: engine.Consumed, Attempt: engine.NewID("try"), RequestID: id, ProjectID: b.project.ID,
		Actor: by, Format: "fullchain", Time: now,
	}
	if _, _, err := b.store.Settle(ctx, s, entry(engine.ActionCertificateDownloaded, "settle/"+digest)); err != nil {
		return err
	}
	r.Version, r.Status = 2, engine.StatusConsumed
	return b.store.AdvanceRequest(ctx, engine.Transition{Request: r})
}
