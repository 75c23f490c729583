//go:build bench

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// pending compares what approvals cost with few pending and with many. A second
// server on a new folder has the few; they are measured in turn, so that other work of
// the machine affects both equally.
func (b *bench) pending() {
	few := startBench(b.t)
	for _, server := range []*bench{few, b} {
		server.policy(func(p *engine.CertificatePolicy) {
			p.AllowKeyExport, p.Approval.Mode, p.Approval.TTLSeconds = true, engine.ApprovalKeyExport, engine.MaxApprovalTTL
		})
	}
	defer b.allowKeys()
	queues := [2][]pendingAnswer{few.wait(10)}
	runtime.GC()
	before := b.resident()
	queues[1] = b.wait(*benchPending)
	runtime.GC()
	b.add("resident memory per pending approval", (b.resident()-before)*1024/float64(*benchPending), "KiB", 0, false)
	b.settle()
	took := [2]map[string][]time.Duration{{}, {}}
	for range 10 {
		for i, server := range []*bench{few, b} {
			for range 30 {
				server.approval(&queues[i], took[i])
			}
		}
	}
	for _, step := range []string{"mint that waits", "list", "approve", "claim"} {
		few, many := ms(median(took[0][step])), ms(median(took[1][step]))
		b.add(step+", 10 pending, p50", few, "ms", 0, false)
		b.add(fmt.Sprintf("%s p50 with %d pending / with 10", step, *benchPending), many/few, "×", 1.2, false)
	}
	// The other requests are cancelled, so that none is running during the next
	// measurement.
	b.measure(32, len(queues[1]), func(i int) error {
		return b.call("operator", http.MethodPost, "/requests/"+queues[1][i].RequestID+"/cancel", "", http.StatusOK, nil)
	})
}

type pendingAnswer struct {
	RequestID  string `json:"request_id"`
	ApprovalID string `json:"approval_id"`
	Token      string `json:"token"`
}

func (b *bench) ask() (p pendingAnswer, err error) {
	return p, b.call("operator", http.MethodPost, "/certificates/"+b.boot.Certificates[0].ID+"/downloads", `{"format":"key"}`, http.StatusAccepted, &p)
}

// wait makes n requests that wait.
func (b *bench) wait(n int) []pendingAnswer {
	queue := make([]pendingAnswer, n)
	b.measure(32, n, func(i int) (err error) {
		queue[i], err = b.ask()
		return err
	})
	return queue
}

// approval notes what each step of an approval's life takes: a request more joins
// the queue; the one that waited longest is approved, claimed and redeemed.
func (b *bench) approval(queue *[]pendingAnswer, took map[string][]time.Duration) {
	var next, claimed pendingAnswer
	oldest := (*queue)[0]
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"mint that waits", func() (err error) { next, err = b.ask(); return err }},
		{"list", func() error {
			return b.call("approver", http.MethodGet, "/approvals?status=pending&limit=10", "", http.StatusOK, nil)
		}},
		{"approve", func() error {
			return b.call("approver", http.MethodPost, "/approvals/"+oldest.ApprovalID+"/approve", "", http.StatusOK, nil)
		}},
		{"claim", func() error {
			return b.call("operator", http.MethodPost, "/requests/"+oldest.RequestID+"/token", "{}", http.StatusCreated, &claimed)
		}},
	} {
		began := time.Now()
		must(b.t, step.do())
		took[step.name] = append(took[step.name], time.Since(began))
	}
	b.redeem(1, []string{claimed.Token})
	*queue = append((*queue)[1:], next)
}

// call sends a request about the project and demands a status.
func (b *bench) call(key, method, path, body string, want int, out any) error {
	request, err := http.NewRequest(method, b.url+"/api/v1/projects/"+b.boot.ProjectID+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+b.boot.APIKeys[key])
	answer, err := loadClient.Do(request)
	if err != nil {
		return err
	}
	if out != nil && answer.StatusCode == want {
		err = json.NewDecoder(answer.Body).Decode(out)
	}
	if _, closing := discard(answer.Body); err == nil {
		err = closing
	}
	if err == nil && answer.StatusCode != want {
		err = fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	return err
}
