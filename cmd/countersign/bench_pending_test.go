//go:build bench

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// pending compares what approvals cost with few pending and with many: a request
// more is made, the oldest that waits approved, claimed and redeemed, so that
// their number stays.
func (b *bench) pending() {
	b.policy(func(p *engine.CertificatePolicy) {
		p.AllowKeyExport, p.Approval.Mode, p.Approval.TTLSeconds = true, engine.ApprovalKeyExport, engine.MaxApprovalTTL
	})
	defer b.allowKeys()
	queue := b.wait(nil, 10)
	few := b.approvals(&queue)
	runtime.GC()
	before := b.resident()
	queue = b.wait(queue, *benchPending-len(queue))
	runtime.GC()
	b.add("resident memory per pending approval", (b.resident()-before)*1024/float64(*benchPending), "KiB", 0, false)
	many := b.approvals(&queue)
	for _, step := range []string{"mint that waits", "list", "approve", "claim"} {
		b.add(step+", 10 pending, p50", ms(few[step]), "ms", 0, false)
		b.add(fmt.Sprintf("%s p50 with %d pending / with 10", step, *benchPending), ms(many[step])/ms(few[step]), "×", 1.2, false)
	}
	// The rest is withdrawn, so that what is measured next finds nothing running.
	b.measure(32, len(queue), func(i int) error {
		return b.call("operator", http.MethodPost, "/requests/"+queue[i].RequestID+"/cancel", "", http.StatusOK, nil)
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

// wait adds n requests that wait.
func (b *bench) wait(queue []pendingAnswer, n int) []pendingAnswer {
	more := make([]pendingAnswer, n)
	b.measure(32, n, func(i int) (err error) {
		more[i], err = b.ask()
		return err
	})
	return append(queue, more...)
}

// approvals times each step of an approval's life, one caller: with each round one
// request joins the queue and the one that waited longest leaves it.
func (b *bench) approvals(queue *[]pendingAnswer) map[string]timing {
	const turns = 300
	took := map[string][]time.Duration{}
	for range turns {
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
	p50 := map[string]timing{}
	for name, all := range took {
		slices.Sort(all)
		p50[name] = timing{p50: all[turns/2]}
	}
	return p50
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
