package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/engine/failpoint"
)

// Actions of the audit log about what keepers wrap. The first is about one secret; the
// second, in the chain of the system, about a whole run.
const (
	ActionKeyRewrapped   = "key.rewrapped"
	ActionKeysRewrapping = "keys.rewrapped"
)

// Rewrapping has the present keeper wrap what other keepers have wrapped, so that these
// are needed no more. Servers may run meanwhile, if they know both keepers. A run that is
// interrupted may be repeated. All fields but Progress must be set.
type Rewrapping struct {
	Store RewrapStore
	Keys  Rewrapper
	Clock Clock
	// Progress is told how many secrets were looked at.
	Progress func(secrets int)
}

// RewrapStore is what [Rewrapping] reads and writes; [Store] documents the methods.
type RewrapStore interface {
	documentReader
	Projects(ctx context.Context, memberID string, page Page) ([]Project, string, error)
	ExportDocuments(ctx context.Context, kind string, visit func(StoredDocument) error) error
	ReplaceWrapping(ctx context.Context, secret WrappedSecret, next SealedKey, rec Record) error
	Append(ctx context.Context, e AuditEntry) error
	AuditEntries(ctx context.Context, q AuditQuery) ([]AuditEntry, string, error)
}

// Rewrapper changes which keeper wraps a secret.
type Rewrapper interface {
	// Rewrap has the keeper of new secrets wrap the data key of one. changed is false if
	// it did so before. It changes neither the data key nor the ciphertext. It returns
	// CodeUnavailable if a keeper does not answer.
	Rewrap(ctx context.Context, sealed SealedKey) (next SealedKey, changed bool, err error)
}

// SecretKind says what a secret is, by the kind of document that holds it.
type SecretKind string

// The kinds of secret.
const (
	PrivateKeySecret   = SecretKind(tableSealedKeys)
	TargetSecret       = SecretKind(tableTargets)
	InstallationSecret = SecretKind(tableDataKeys)
)

// WrappedSecret is a secret and where it is stored. ID is that of the certificate, the
// notification target or the installation's key.
type WrappedSecret struct {
	Kind   SecretKind
	ID     string
	Sealed SealedKey

	chain    string
	document func(next SealedKey) []document
	// stored reads the secret again; a secret without it has no document in the audit log.
	stored func(ctx context.Context) (SealedKey, error)
}

// KeeperUse says how many secrets a keeper wraps. UnusedSince is when the last one was
// wrapped anew, if the keeper wraps none and that is known.
type KeeperUse struct {
	Keeper      string             `json:"keeper"`
	Secrets     map[SecretKind]int `json:"secrets"`
	UnusedSince *time.Time         `json:"unused_since,omitempty"`
	// Sample is one of the secrets.
	Sample SealedKey `json:"-"`
}

// Total is how many secrets the keeper wraps.
func (u KeeperUse) Total() (n int) {
	for _, of := range u.Secrets {
		n += of
	}
	return n
}

// Uses says which keeper wraps how many secrets, and so which ones are needed.
func (r *Rewrapping) Uses(ctx context.Context) (map[string]*KeeperUse, error) {
	uses := map[string]*KeeperUse{}
	err := r.each(ctx, func(s WrappedSecret) error {
		use := uses[s.Sealed.KeeperID]
		if use == nil {
			use = &KeeperUse{Keeper: s.Sealed.KeeperID, Secrets: map[SecretKind]int{}, Sample: s.Sealed}
			uses[use.Keeper] = use
		}
		use.Secrets[s.Kind]++
		return nil
	})
	return uses, err
}

// Unused adds to the uses the keepers that wrap nothing any more, as far as the audit log
// knows. The store must have the audit key: it may link entries before it reads them.
func (r *Rewrapping) Unused(ctx context.Context, uses map[string]*KeeperUse) error {
	runs, _, err := r.Store.AuditEntries(ctx, AuditQuery{ProjectID: SystemChain, Action: ActionKeysRewrapping, Page: Page{Limit: 100}})
	for _, run := range slices.Backward(runs) { // the oldest first
		for _, keeper := range strings.Split(run.Detail["from"], ", ") {
			if uses[keeper] == nil || uses[keeper].Total() == 0 {
				uses[keeper] = &KeeperUse{Keeper: keeper, UnusedSince: &run.Time}
			}
		}
	}
	return err
}

// Run wraps anew what the present keeper does not wrap, and returns how many secrets that
// was. Each is on record in the audit log. A secret that cannot be wrapped anew does not
// keep the others from it.
func (r *Rewrapping) Run(ctx context.Context) (rewrapped int, err error) {
	from, to, looked := map[string]bool{}, "", 0
	var failures error
	err = r.each(ctx, func(s WrappedSecret) error {
		if looked++; r.Progress != nil {
			r.Progress(looked)
		}
		next, changed, err := r.rewrap(ctx, s)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failures = errors.Join(failures, fmt.Errorf("%s %s: %w", s.Kind, s.ID, err))
		case changed:
			from[s.Sealed.KeeperID], to = true, next.KeeperID
			rewrapped++
		}
		return nil
	})
	if rewrapped > 0 {
		err = errors.Join(err, r.Store.Append(context.WithoutCancel(ctx), AuditEntry{
			Ref: NewID("aud"), ProjectID: SystemChain, Time: r.Clock(), Action: ActionKeysRewrapping, Outcome: AuditSuccess, Actor: System,
			Detail: map[string]string{"from": strings.Join(slices.Sorted(maps.Keys(from)), ", "), "to": to, "secrets": strconv.Itoa(rewrapped)},
		}))
	}
	return rewrapped, errors.Join(err, failures)
}

func (r *Rewrapping) rewrap(ctx context.Context, s WrappedSecret) (next SealedKey, changed bool, err error) {
	next, changed, err = r.Keys.Rewrap(ctx, s.Sealed)
	if err != nil || !changed {
		return next, false, err
	}
	rec := Record{Audit: AuditEntry{
		Ref: NewID("aud"), ProjectID: s.chain, Time: r.Clock(), Action: ActionKeyRewrapped, Outcome: AuditSuccess, Actor: System,
		Detail: map[string]string{"secret": string(s.Kind), "id": s.ID, "from": s.Sealed.KeeperID, "to": next.KeeperID},
	}}
	if s.Kind == PrivateKeySecret {
		rec.Audit.CertificateID = s.ID
	}
	err = r.Store.ReplaceWrapping(ctx, s, next, rec.writes(s.document(next)...))
	if errors.Is(err, CodeConflict) || errors.Is(err, CodeNotFound) {
		return next, false, r.correct(ctx, s, rec) // another run was faster, or the secret was deleted
	}
	failpoint.Hit("rewrapped")
	return next, err == nil, err
}

// correct says again in the audit log what is stored, because a store may have recorded a
// change that it then did not make.
func (r *Rewrapping) correct(ctx context.Context, s WrappedSecret, rec Record) error {
	if s.stored == nil {
		return nil
	}
	now := removed(string(s.Kind), s.ID)
	sealed, err := s.stored(ctx)
	switch {
	case err == nil:
		now = s.document(sealed)[0]
		rec.Audit.Detail["to"] = sealed.KeeperID
	case !errors.Is(err, CodeNotFound):
		return err
	}
	rec.Audit.Ref, rec.Audit.Documents = NewID("aud"), nil
	return r.Store.Append(ctx, rec.writes(now).Audit)
}

// each visits every secret that a keeper wraps.
func (r *Rewrapping) each(ctx context.Context, visit func(WrappedSecret) error) error {
	err := r.Store.ExportDocuments(ctx, tableDataKeys, func(d StoredDocument) error {
		s := WrappedSecret{Kind: InstallationSecret, ID: d.ID, chain: SystemChain, document: func(SealedKey) []document { return nil }}
		if err := json.Unmarshal(d.JSON, &s.Sealed); err != nil {
			return err
		}
		return visit(s)
	})
	if err == nil {
		err = eachProject(ctx, r.Store, func(p Project) error {
			return errors.Join(r.eachPrivateKey(ctx, p.ID, visit), r.eachTarget(ctx, p.ID, visit))
		})
	}
	if err != nil {
		return fmt.Errorf("read what keepers wrap: %w", err)
	}
	return nil
}

func (r *Rewrapping) eachPrivateKey(ctx context.Context, projectID string, visit func(WrappedSecret) error) error {
	return eachCertificate(ctx, r.Store, projectID, func(c Certificate) error {
		key, err := r.Store.SealedKey(ctx, c.ID)
		if errors.Is(err, CodeNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return visit(WrappedSecret{Kind: PrivateKeySecret, ID: c.ID, Sealed: key, chain: projectID, document: func(next SealedKey) []document {
			return []document{next.document(c)}
		}, stored: func(ctx context.Context) (SealedKey, error) { return r.Store.SealedKey(ctx, c.ID) }})
	})
}

func (r *Rewrapping) eachTarget(ctx context.Context, projectID string, visit func(WrappedSecret) error) error {
	return eachOf(func(page Page) ([]NotificationTarget, string, error) {
		return r.Store.NotificationTargets(ctx, projectID, page)
	}, func(t NotificationTarget) error {
		return visit(WrappedSecret{Kind: TargetSecret, ID: t.ID, Sealed: t.Sealed, chain: projectID, document: func(next SealedKey) []document {
			t.Sealed = next
			return []document{t.document()}
		}, stored: func(ctx context.Context) (SealedKey, error) {
			now, err := r.Store.NotificationTarget(ctx, projectID, t.ID)
			return now.Sealed, err
		}})
	})
}
