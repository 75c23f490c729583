package stream

import (
	"sync"

	"github.com/countersign-dev/countersign/engine"
)

// everybody stands for all people in a change of rights.
const everybody = ""

// rights notes when people's rights may have changed, so that a stream reads its
// caller's again only then. A moment is the number of changes that were noted before.
type rights struct {
	mu      sync.Mutex
	moment  int64
	changed map[string]int64 // the moment of the latest change, by person, or of everybody
}

// note notes a change.
func (r *rights) note(whose string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moment++
	r.changed[whose] = r.moment
}

// now is the present moment. Whoever reads a person's rights asks for it first: what
// changes while they read counts as a change after it.
func (r *rights) now() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.moment
}

// changedSince reports whether a person's rights may have changed since a moment.
func (r *rights) changedSince(moment int64, person string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed[person] > moment || r.changed[everybody] > moment
}

// changesRights reports whether an entry of a project's chain changed what a person may
// do.
func changesRights(e engine.AuditEntry) bool {
	switch e.Action {
	case engine.ActionAPIKeyRevoked, engine.ActionMemberUpdated, engine.ActionMemberRemoved:
		return true
	}
	return false
}

// systemRights says whose rights an entry of the system chain may have changed. A change
// of an account, or the end of a key, also ends what depends on it; people end sessions
// and set passwords for themselves, and an administrator ends the sessions of one user.
func systemRights(e engine.AuditEntry) (whose string, changes bool) {
	switch e.Action {
	case engine.ActionSessionClosed, engine.ActionSessionsClosedEverywhere, engine.ActionPasswordSet:
		return e.Actor.Person, true
	case engine.ActionUserSignedOut:
		return e.Detail["user_id"], true
	case engine.ActionUserChanged:
		return everybody, true
	}
	return everybody, changesRights(e)
}
