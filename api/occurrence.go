package api

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

// occurrence is an audit entry as streams show it: made once, written to each
// stream that may have it.
type occurrence struct {
	seq    int64
	person string // the requester's user id; "" once the request is forgotten
	rights bool   // somebody's rights changed, perhaps those of a stream's caller
	events []event
}

// needsRequester tells whether the caller may be shown events that depend on who
// made the request.
func needsRequester(to engine.Caller) bool { return to.Role.Includes(engine.RoleOperator) }

type event struct {
	name string
	data []byte // JSON, which holds no line break
}

// eventsOf is what an audit entry tells: nothing, that the certificate policy
// changed, or that a request did, followed by what else did.
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

// changesRequest leaves out refusals, but for the denial that a request begins
// and ends with.
func changesRequest(e engine.AuditEntry) bool {
	switch e.Action {
	case engine.ActionDownloadRequested:
		return e.RequestID != "" && e.Detail["status"] != ""
	case engine.ActionDownloadInterrupted:
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

// approvalStatus is what an entry made of its approval; "" where it does not
// say: a request may be cancelled before its approval is settled, and after.
func approvalStatus(e engine.AuditEntry) string {
	switch e.Action {
	case engine.ActionDownloadRequested:
		return string(engine.ApprovalPending)
	case engine.ActionApprovalExpired:
		return string(engine.ApprovalExpired)
	}
	return e.Detail["approval_status"]
}

// changesRights tells whether somebody may do more or less than before.
func changesRights(e engine.AuditEntry) bool {
	switch e.Action {
	case engine.ActionAPIKeyRevoked, engine.ActionMemberUpdated, engine.ActionMemberRemoved:
		return true
	}
	return false
}

func newEvent(name string, data wire.StreamEvent) event {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err) // text and a time always encode
	}
	return event{name, text}
}

// shows tells whether the caller may GET what the event is about: everybody a
// certificate's timeline and the policy, an operator their own requests, an
// approver all.
func (o occurrence) shows(e event, to engine.Caller) bool {
	switch {
	case e.name == eventDownloaded || e.name == eventPolicy:
		return true
	case o.person == "":
		return false
	case to.Role.Includes(engine.RoleApprover):
		return true
	}
	return to.Role.Includes(engine.RoleOperator) && o.person == to.User.ID
}

// write appends the events that the caller may have. Only the last carries the
// id: whoever resumes from it has had them all.
func (o occurrence) write(w *bytes.Buffer, to engine.Caller) {
	wrote := false
	for _, e := range o.events {
		if !o.shows(e, to) {
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
