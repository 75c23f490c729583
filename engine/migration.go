package engine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/engine/failpoint"
)

// StoredDocument is a document as one store hands it to another. JSON is that of the
// document's type. ID is unique in its kind: the document's own id, or what stands for
// it, such as "project/user" for a member.
type StoredDocument struct {
	ID   string
	JSON json.RawMessage
}

// The kinds of document that have no entries in the audit log of their own.
const (
	tableFormerMembers = "former_members"
	tableSessions      = "sessions"
	tableSettlements   = "token_settlements"
	tableEntries       = "audit_logs"
	tableDataKeys      = "data_keys"
)

// DocumentKinds are all kinds of document, in an order in which a store can take them:
// some columns follow from documents of an earlier kind. The keys are last, so that no
// server takes a database for whole that has a part of its documents only.
var DocumentKinds = []string{
	tableProjects, tableUsers, tableMembers, tableFormerMembers, tableAPIKeys, tableSessions,
	tableCertificates, tableSealedKeys, tableEvents, tablePolicies, tableRequests, tableApprovals,
	tableTokens, tableSettlements, tableTargets, tableEntries, tableDataKeys,
}

// DocumentCopies carries all documents from one store to another. What a store derives
// from documents, such as its search index, is not carried, and neither are nodes.
type DocumentCopies interface {
	// CompleteDocuments adds what is missing of changes that a crash interrupted. Nobody
	// else may write to the store meanwhile.
	CompleteDocuments(ctx context.Context) error
	// ExportDocuments visits all documents of a kind. The entries of an audit chain come
	// in their order.
	ExportDocuments(ctx context.Context, kind string, visit func(StoredDocument) error) error
	// ImportDocuments stores documents of a kind. One that is stored already stays as it
	// is; another one in its place is CodeExists.
	ImportDocuments(ctx context.Context, kind string, documents []StoredDocument) error
}

// MigrationMark says of a store that its installation was carried to another one, which is
// served since. To names the other store for people, without any credential.
type MigrationMark struct {
	To string    `json:"to"`
	At time.Time `json:"at"`
}

// Migration carries an installation to another store. The source is not served
// meanwhile. All fields must be set.
type Migration struct {
	Source, Target MigrationStore
	Key            []byte // of the audit log
	Ages           RetentionAges
	Clock          Clock
	// MarkSource is called before the target gets its keys, without which no server starts
	// on it. No server starts on the source from then on.
	MarkSource func(ctx context.Context) error
	// Progress is told from time to time how many documents of a kind are in the target.
	Progress func(kind string, documents int)

	begins map[string]int64 // the number with which each audit chain of the source begins
}

// MigrationStore is what [Migration] needs of a store; [Store] documents the methods.
type MigrationStore interface {
	VerifierStore
	InstallationStore
	DocumentCopies
	Nodes(ctx context.Context) ([]Node, error)
}

// KindCount says how many documents of a kind two stores have.
type KindCount struct {
	Kind           string
	Source, Target int
}

// importBatch is how many documents are imported at once.
const importBatch = 64

// Run copies what the target lacks, and verifies the target. It may be interrupted and
// repeated: at no moment can both be served. Before it writes, it refuses a source whose
// audit log does not verify, and a target with documents that the source does not have. It
// leaves the target without a Temporal namespace, unless an earlier run was followed by one
// that gave it one for the reason [Migrated]: else the first server that starts on it gives
// it one.
func (m *Migration) Run(ctx context.Context) ([]KindCount, error) {
	source, err := m.prepare(ctx)
	if err != nil {
		return nil, err
	}
	present := map[string]documentSet{}
	for _, kind := range DocumentKinds {
		if _, present[kind], err = m.compare(ctx, kind); err != nil {
			return nil, err
		}
	}
	for _, kind := range DocumentKinds {
		if kind == tableDataKeys {
			if err := m.leaveSource(ctx); err != nil {
				return nil, err
			}
		}
		if err := m.copy(ctx, kind, present[kind]); err != nil {
			return nil, fmt.Errorf("copy %s: %w", kind, err)
		}
	}
	var counts []KindCount
	for _, kind := range DocumentKinds {
		source, target, err := m.compare(ctx, kind)
		if err != nil {
			return nil, err
		}
		if len(source) != len(target) {
			return nil, fmt.Errorf("the source has %d %s, the target %d: something else writes to one of them; stop it and repeat", len(source), kind, len(target))
		}
		counts = append(counts, KindCount{kind, len(source), len(target)})
	}
	if err := m.unbind(ctx, source); err != nil {
		return nil, err
	}
	if _, err := m.verify(ctx, "target", m.Target); err != nil {
		return nil, err
	}
	return counts, m.refuseAnyServed(ctx) // one may have started meanwhile
}

// leaveSource marks the source. A server that started on it since the first look, and read
// that it has no mark, is found now or refuses by itself: it reads the mark again after it
// has registered as a node.
func (m *Migration) leaveSource(ctx context.Context) error {
	if err := m.MarkSource(ctx); err != nil {
		return fmt.Errorf("mark the source as migrated: %w", err)
	}
	return m.refuseAnyServed(ctx)
}

// prepare checks and completes the source, and returns its Temporal namespace.
func (m *Migration) prepare(ctx context.Context) (before TemporalNamespace, err error) {
	if err := m.refuseAnyServed(ctx); err != nil {
		return before, err
	}
	if err := m.Source.CompleteDocuments(ctx); err != nil {
		return before, fmt.Errorf("complete the source: %w", err)
	}
	if m.begins, err = m.verify(ctx, "source", m.Source); err != nil {
		return before, err
	}
	if before, err = m.installation(m.Source).Temporal(ctx); err != nil {
		err = fmt.Errorf("read the source's Temporal namespace: %w", err)
	}
	return before, err
}

func (m *Migration) installation(store InstallationStore) Installation {
	return Installation{Store: store, Key: m.Key, Clock: m.Clock}
}

// unbind records that the target's requests do not run in the source's Temporal.
func (m *Migration) unbind(ctx context.Context, source TemporalNamespace) error {
	of := m.installation(m.Target)
	before, err := of.Temporal(ctx)
	if err == nil && before.ID != "" && before == source {
		err = of.UseTemporal(ctx, before, TemporalNamespace{}, Migrated)
	}
	if err != nil {
		return fmt.Errorf("leave the source's Temporal namespace: %w", err)
	}
	return nil
}

func (m *Migration) refuseAnyServed(ctx context.Context) error {
	return errors.Join(m.refuseServed(ctx, "source", m.Source), m.refuseServed(ctx, "target", m.Target))
}

// refuseServed returns an error if a server runs on a store.
func (m *Migration) refuseServed(ctx context.Context, name string, store MigrationStore) error {
	nodes, err := store.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("list the servers on the %s: %w", name, err)
	}
	for _, n := range nodes {
		if n.Alive(m.Clock()) {
			return fmt.Errorf("a server on %s runs on the %s, or was killed less than %s ago: stop it and repeat", n.Host, name, nodeLife)
		}
	}
	return nil
}

// verify checks every chain of a store, and the documents with it. It returns the number
// with which each begins.
func (m *Migration) verify(ctx context.Context, name string, store MigrationStore) (begins map[string]int64, err error) {
	verifier := Verifier{Store: store, Key: m.Key, Ages: m.Ages, Clock: m.Clock}
	if begins, err = verifier.VerifyAll(ctx); err != nil {
		return nil, fmt.Errorf("verify the %s: %w", name, err)
	}
	return begins, nil
}

// export visits the documents of a kind, without audit entries that retention is about to
// delete: some of them may be gone.
func (m *Migration) export(ctx context.Context, store MigrationStore, kind string, visit func(StoredDocument) error) error {
	return store.ExportDocuments(ctx, kind, func(d StoredDocument) error {
		if at := strings.LastIndexByte(d.ID, '/'); kind == tableEntries && at >= 0 {
			if seq, err := strconv.ParseInt(d.ID[at+1:], 10, 64); err == nil && seq < m.begins[d.ID[:at]] {
				return nil
			}
		}
		return visit(d)
	})
}

// documentSet has the fingerprints of documents: of their ids and contents together.
type documentSet map[[16]byte]struct{}

func (d StoredDocument) fingerprint() [16]byte {
	sum := sha256.Sum256([]byte(d.ID + "\x00" + contentDigest(d.JSON)))
	return [16]byte(sum[:16])
}

// compare reads all documents of a kind. It returns an error that names those of the
// target which the source does not have, but for the entries that a migration adds last.
func (m *Migration) compare(ctx context.Context, kind string) (source, target documentSet, err error) {
	source, target = documentSet{}, documentSet{}
	err = m.export(ctx, m.Source, kind, func(d StoredDocument) error {
		source[d.fingerprint()] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read %s of the source: %w", kind, err)
	}
	const most = 5
	var foreign []string
	err = m.export(ctx, m.Target, kind, func(d StoredDocument) error {
		print := d.fingerprint()
		_, known := source[print]
		switch {
		case known:
			target[print] = struct{}{}
		case kind == tableEntries && ofMigration(d):
		case len(foreign) < most:
			foreign = append(foreign, d.ID)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read %s of the target: %w", kind, err)
	}
	if len(foreign) > 0 {
		return nil, nil, fmt.Errorf("the target has %s that the source does not have, or has otherwise: %s. It belongs to another installation, or a server has run on it or on the source since: "+
			"name an empty target, or empty this one if nobody needs it", kind, strings.Join(foreign, ", "))
	}
	return source, target, nil
}

// ofMigration reports whether an audit entry says that a target left its source's Temporal
// namespace, or got one before a server ran on it.
func ofMigration(d StoredDocument) bool {
	var e AuditEntry
	err := json.Unmarshal(d.JSON, &e)
	return err == nil && e.ProjectID == SystemChain && e.Action == ActionTemporalChanged && e.Detail["reason"] == Migrated
}

// copy imports the documents of a kind that the target does not have.
func (m *Migration) copy(ctx context.Context, kind string, present documentSet) error {
	copied := len(present)
	var batch []StoredDocument
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := m.Target.ImportDocuments(ctx, kind, batch); err != nil {
			if errors.Is(err, CodeExists) {
				err = fmt.Errorf("the target has another document in the place of one of the source: %w", err)
			}
			return err
		}
		copied += len(batch)
		batch = nil
		m.Progress(kind, copied)
		failpoint.Hit("migrated-" + kind)
		return nil
	}
	err := m.export(ctx, m.Source, kind, func(d StoredDocument) error {
		if _, has := present[d.fingerprint()]; has {
			return nil
		}
		if batch = append(batch, d); len(batch) < importBatch {
			return nil
		}
		return flush()
	})
	return errors.Join(err, flush())
}
