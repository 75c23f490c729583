package stream

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// The names of the events of a stream.
const (
	eventRequest    = "request.updated"
	eventApproval   = "approval.updated"
	eventDownloaded = "cert.downloaded"
	eventPolicy     = "policy.updated"
)

// entryEvents has the stream events of one audit entry. It is made once and written
// to each stream that may have it.
type entryEvents struct {
	seq           int64
	requester     string // user id; "" after the request was deleted
	rightsChanged bool   // a person has other rights now, perhaps a stream's caller
	events        []event
}

// needsRequester reports whether the caller may see events that depend on who made
// the request.
func needsRequester(to engine.Caller) bool { return to.Role.Includes(engine.RoleOperator) }

type event struct {
	name string
	data []byte // JSON, which holds no line break
}

// eventsOf are the events of an audit entry: none, a change of the certificate
// policy, or a change of a request and of what depends on it.
func eventsOf(e engine.AuditEntry) []event {
	if e.Action == engine.ActionPolicyUpdated && e.Outcome == engine.AuditSuccess {
		return []event{newEvent(eventPolicy, wire.StreamEvent{Action: e.Action, Time: e.Time})}
	}
	if !changesRequest(e) {
		return nil
	}
	data := wire.StreamEvent{
		RequestID: e.RequestID, ApprovalID: e.Detail["approval_id"], CertificateID: e.CertificateID, Format: e.Format,
		Status: e.Detail["status"], Action: e.Action, Time: e.Time,
	}
	if e.Action == engine.ActionCertificateDownloaded {
		updated := data
		updated.Status = string(engine.StatusConsumed)
		return []event{newEvent(eventRequest, updated), newEvent(eventDownloaded, data)}
	}
	events := []event{newEvent(eventRequest, data)}
	if changesApproval(e) {
		data.Status = approvalStatus(e)
		events = append(events, newEvent(eventApproval, data))
	}
	return events
}

// changesRequest reports whether the entry changed a request. Of refusals, only the
// denial of a new request does.
func changesRequest(e engine.AuditEntry) bool {
	switch e.Action {
	case engine.ActionDownloadRequested:
		return e.RequestID != "" && e.Detail["status"] != ""
	case engine.ActionDownloadInterrupted, engine.ActionDownloadUnconfirmed:
		return e.RequestID != ""
	case engine.ActionApprovalApproved, engine.ActionApprovalDenied, engine.ActionApprovalExpired, engine.ActionDownloadCancelled, engine.ActionDownloadExpired,
		engine.ActionTokenIssued, engine.ActionTokenRevoked, engine.ActionTokenExpired, engine.ActionCertificateDownloaded:
		return e.RequestID != "" && e.Outcome == engine.AuditSuccess
	}
	return false
}

func changesApproval(e engine.AuditEntry) bool {
	switch e.Action {
	case engine.ActionDownloadRequested:
		return e.Detail["approval_id"] != "" && e.Detail["status"] == string(engine.StatusPendingApproval)
	case engine.ActionApprovalApproved, engine.ActionApprovalDenied, engine.ActionApprovalExpired, engine.ActionDownloadCancelled:
		return e.Detail["approval_id"] != ""
	}
	return false
}

// approvalStatus is the state of the approval after the entry; "" where the entry
// does not say: a request can be cancelled before and after its approval is
// settled.
func approvalStatus(e engine.AuditEntry) string {
	switch e.Action {
	case engine.ActionDownloadRequested:
		return string(engine.ApprovalPending)
	case engine.ActionApprovalExpired:
		return string(engine.ApprovalExpired)
	}
	return e.Detail["approval_status"]
}

func newEvent(name string, data wire.StreamEvent) event {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err) // text and a time always encode
	}
	return event{name, text}
}

// visible reports whether the caller may GET what the event is about: everybody may
// read timelines and the policy, operators their own requests, approvers all.
func (o entryEvents) visible(e event, to engine.Caller) bool {
	switch {
	case e.name == eventDownloaded || e.name == eventPolicy:
		return true
	case o.requester == "":
		return false
	case to.Role.Includes(engine.RoleApprover):
		return true
	}
	return to.Role.Includes(engine.RoleOperator) && o.requester == to.User.ID
}

// write appends the events that the caller may have. Only the last has the id, so
// that a stream which continues from it misses none.
func (o entryEvents) write(w *bytes.Buffer, to engine.Caller) {
	wrote := false
	for _, e := range o.events {
		if !o.visible(e, to) {
			continue
		}
		if wrote {
			w.WriteByte('\n')
		}
		fmt.Fprintf(w, "event: %s\ndata: %s\n", e.name, e.data)
		wrote = true
	}
	if wrote {
		fmt.Fprintf(w, "id: %d\n\n", o.seq)
	}
}
