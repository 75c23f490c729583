package engine

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// ActionTemporalChanged is the action of the audit entry that says in which Temporal
// namespace an installation's requests run from there on.
const ActionTemporalChanged = "temporal.changed"

// Why a namespace is the first one of a store.
const (
	FirstStart = "first start"
	Migrated   = "migrated to another store"
)

// Installation is what all processes on one database are. All fields must be set.
type Installation struct {
	Store InstallationStore
	Key   []byte // of the audit log
	Clock Clock
}

// InstallationStore is what [Installation] reads and writes; [Store] documents the
// methods.
type InstallationStore interface {
	Append(ctx context.Context, e AuditEntry) error
	AuditEntries(ctx context.Context, q AuditQuery) ([]AuditEntry, string, error)
}

// ID names the installation. It follows from the key of the audit log, which the first
// process makes and a copy of the database keeps, and does not tell it.
func (i Installation) ID() string {
	mac := hmac.New(sha256.New, i.Key)
	mac.Write([]byte("countersign installation v1"))
	return "inst_" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// TemporalNamespace is where an installation's requests run. Temporal gives a namespace
// its ID when it is made, so that neither another service nor an emptied one has it.
// The zero value is that of an installation that has not run yet. Change numbers it.
type TemporalNamespace struct {
	ID, Name string
	Change   int64
}

// Temporal returns the namespace in which the installation's requests run.
func (i Installation) Temporal(ctx context.Context) (TemporalNamespace, error) {
	latest, _, err := i.Store.AuditEntries(ctx, AuditQuery{ProjectID: SystemChain, Action: ActionTemporalChanged, Page: Page{Limit: 1}})
	if err != nil || len(latest) == 0 {
		return TemporalNamespace{}, err
	}
	e := latest[0]
	return TemporalNamespace{ID: e.Detail["namespace_id"], Name: e.Detail["namespace"], Change: e.Seq}, nil
}

// UseTemporal records that the requests run in another namespace from now on, for a
// reason. before is what [Installation.Temporal] returned. Of several processes that
// change the same namespace, the first wins; the others get CodeConflict.
func (i Installation) UseTemporal(ctx context.Context, before, next TemporalNamespace, reason string) error {
	if err := i.Store.Append(ctx, AuditEntry{
		Ref: temporalRef(before), ProjectID: SystemChain, Time: i.Clock(),
		Action: ActionTemporalChanged, Outcome: AuditSuccess, Actor: System,
		Detail: map[string]string{"namespace_id": next.ID, "namespace": next.Name, "reason": reason},
	}); err != nil {
		return fmt.Errorf("record the Temporal namespace: %w", err)
	}
	stored, err := i.Temporal(ctx)
	if err == nil && (stored.ID != next.ID || stored.Change <= before.Change) {
		err = CodeConflict
	}
	return err
}

// temporalRef is the Ref of the entry that ends the time in a namespace.
func temporalRef(before TemporalNamespace) string {
	return "temporal/" + strconv.FormatInt(before.Change, 10)
}
