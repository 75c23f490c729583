package stream

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

func entry(action, outcome string, detail ...string) engine.AuditEntry {
	e := engine.AuditEntry{
		Seq: 7, Time: time.Unix(0, 0).UTC(), Action: action, Outcome: outcome, Actor: engine.Actor{ID: "canary-actor", Name: "canary\nname"},
		IP: "canary-ip", UserAgent: "canary-agent", CertificateID: "cert_1", RequestID: "req_1", Format: "zip",
		Detail: map[string]string{"reason": "canary-reason", "comment": "canary-comment"},
	}
	for i := 0; i < len(detail); i += 2 {
		e.Detail[detail[i]] = detail[i+1]
	}
	return e
}

func TestEventsOfEntries(t *testing.T) {
	const ok, refused, failed = engine.AuditSuccess, engine.AuditRefused, engine.AuditFailed
	none := entry(engine.ActionDownloadRequested, refused)
	none.RequestID = ""
	for _, c := range []struct {
		entry engine.AuditEntry
		want  string // name=status of each
	}{
		{entry(engine.ActionDownloadRequested, ok, "status", "issued"), "request.updated=issued"},
		{entry(engine.ActionDownloadRequested, refused, "status", "denied"), "request.updated=denied"},
		{entry(engine.ActionDownloadRequested, ok, "status", "pending_approval", "approval_id", "apr_1"), "request.updated=pending_approval approval.updated=pending"},
		{entry(engine.ActionApprovalApproved, ok, "status", "approved", "approval_id", "apr_1", "approval_status", "approved"), "request.updated=approved approval.updated=approved"},
		{entry(engine.ActionApprovalDenied, ok, "status", "denied", "approval_id", "apr_1", "approval_status", "denied"), "request.updated=denied approval.updated=denied"},
		{entry(engine.ActionApprovalExpired, ok, "status", "expired", "approval_id", "apr_1"), "request.updated=expired approval.updated=expired"},
		{entry(engine.ActionDownloadCancelled, ok, "status", "cancelled", "approval_id", "apr_1"), "request.updated=cancelled approval.updated="},
		{entry(engine.ActionDownloadExpired, ok, "status", "expired", "approval_id", "apr_1"), "request.updated=expired"},
		{entry(engine.ActionTokenIssued, ok, "status", "issued", "approval_id", "apr_1"), "request.updated=issued"},
		{entry(engine.ActionTokenRevoked, ok), "request.updated="},
		{entry(engine.ActionTokenExpired, ok), "request.updated="},
		{entry(engine.ActionCertificateDownloaded, ok), "request.updated=consumed cert.downloaded="},
		{entry(engine.ActionDownloadInterrupted, failed), "request.updated="},
		{entry(engine.ActionDownloadUnconfirmed, failed), "request.updated="},
		{entry(engine.ActionPolicyUpdated, refused), ""},
		{entry(engine.ActionDownloadRefused, refused), ""},
		{entry(engine.ActionDownloadRefused, failed), ""},
		{entry(engine.ActionAccessRefused, refused), ""},
		{entry(engine.ActionApprovalApproved, refused, "approval_id", "apr_1"), ""},
		{entry(engine.ActionCertificateImported, ok), ""},
		{none, ""},
	} {
		var got []string
		for _, e := range eventsOf(c.entry) {
			var data wire.StreamEvent
			if err := json.Unmarshal(e.data, &data); err != nil {
				t.Fatal(err)
			}
			got = append(got, e.name+"="+data.Status)
			if data.RequestID != "req_1" || data.CertificateID != "cert_1" || data.Format != "zip" || data.Action != c.entry.Action ||
				data.ApprovalID != c.entry.Detail["approval_id"] || !data.Time.Equal(c.entry.Time) {
				t.Errorf("%s: %s", c.entry.Action, e.data)
			}
			if strings.Contains(string(e.data), "canary") || bytes.ContainsAny(e.data, "\r\n") {
				t.Errorf("%s reveals too much: %s", c.entry.Action, e.data)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s %s gave %v, want %s", c.entry.Action, c.entry.Outcome, got, c.want)
		}
	}
}

// An event tells everybody that the policy changed; who changed it, and what, is
// only in the audit log.
func TestEventOfThePolicy(t *testing.T) {
	set := entry(engine.ActionPolicyUpdated, engine.AuditSuccess, "allow_key_export", "canary-old → canary-new")
	set.RequestID, set.CertificateID, set.Format = "", "", ""
	var w bytes.Buffer
	entryEvents{seq: 7, events: eventsOf(set)}.write(&w, engine.Caller{Role: engine.RoleViewer})
	const want = "event: policy.updated\n" +
		`data: {"request_id":"","certificate_id":"","format":"","action":"policy.updated","time":"1970-01-01T00:00:00Z"}` + "\nid: 7\n\n"
	if w.String() != want {
		t.Errorf("%q, want %q", w.String(), want)
	}
}

// Of one entry's events that a caller may see, only the last has the id.
func TestWriteEvents(t *testing.T) {
	o := entryEvents{seq: 7, requester: "ann", events: eventsOf(entry(engine.ActionCertificateDownloaded, engine.AuditSuccess))}
	forgotten := o
	forgotten.requester = ""
	for _, c := range []struct {
		o      entryEvents
		person string
		role   engine.Role
		want   []string
	}{
		{o, "ann", engine.RoleViewer, []string{"cert.downloaded"}},
		{o, "ann", engine.RoleOperator, []string{"request.updated", "cert.downloaded"}},
		{o, "bob", engine.RoleOperator, []string{"cert.downloaded"}},
		{o, "bob", engine.RoleApprover, []string{"request.updated", "cert.downloaded"}},
		{o, "bob", engine.RoleAdmin, []string{"request.updated", "cert.downloaded"}},
		{forgotten, "", engine.RoleOperator, []string{"cert.downloaded"}},
		{forgotten, "bob", engine.RoleAdmin, []string{"cert.downloaded"}},
		{entryEvents{seq: 7, requester: "ann", events: o.events[:1]}, "bob", engine.RoleOperator, nil},
	} {
		var w bytes.Buffer
		c.o.write(&w, engine.Caller{Principal: engine.Principal{User: engine.User{ID: c.person}}, Role: c.role})
		var names []string
		for line := range strings.Lines(w.String()) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "event: "); ok {
				names = append(names, name)
			}
		}
		if !slices.Equal(names, c.want) || len(names) > 0 && (strings.Count(w.String(), "id: ") != 1 || !strings.HasSuffix(w.String(), "\nid: 7\n\n")) {
			t.Errorf("%s %s was sent %q", c.role, c.person, w.String())
		}
	}
}
