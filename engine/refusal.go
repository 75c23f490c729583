package engine

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/engine/certparse"
)

// Refusals writes what callers were refused to the audit log, within quotas, so
// that nobody can fill it: of each kind of refusal, a bounded number for each
// subject (a person, a token, a network), and for all subjects together. How many
// were left out stands in the next entry of the subject, or in one that
// [Refusals.Run] adds. All fields must be set.
type Refusals struct {
	Store AuditAppender
	Clock Clock
	Log   *slog.Logger

	mu     sync.Mutex
	quotas map[refusalKind]*refusalQuota
}

// AuditAppender adds entries to the audit log; [AuditLog] documents the method.
type AuditAppender interface {
	Append(ctx context.Context, e AuditEntry) error
}

// refusalKind is what a quota is for; all subjects together have the subject "".
type refusalKind struct{ chain, action, code, subject string }

// refusalQuota is a token bucket, and what was left out since the latest entry.
type refusalQuota struct {
	bucket
	omitted int
	last    AuditEntry
}

// bucket is a token bucket: size events at once, then one every interval.
type bucket struct {
	size     float64
	interval time.Duration
	spent    float64
	at       time.Time
}

// empty reports whether no event is left.
func (b *bucket) empty(now time.Time) bool {
	b.spent = max(0, b.spent-float64(now.Sub(b.at))/float64(b.interval))
	b.at = now
	return b.spent > b.size-1
}

// allow takes an event from the bucket, if one is left.
func (b *bucket) allow(now time.Time) bool {
	if b.empty(now) {
		return false
	}
	b.spent++
	return true
}

const (
	subjectRefusals, subjectInterval = 20, 30 * time.Second
	kindRefusals, kindInterval       = 300, 5 * time.Second
	// maxSubjects bounds the memory. Further subjects have the quota of all together.
	maxSubjects = 10_000
)

// Record writes a refusal, unless too many like it were written. The refusal holds
// whether or not it could be written, so a failure is logged.
func (r *Refusals) Record(ctx context.Context, e AuditEntry, subject string) {
	if r.admit(&e, subject) {
		r.write(ctx, e)
	}
}

// RecordForbidden records the refusal of a call for which the caller lacks a right, in
// the log of their project or else of the system.
func (r *Refusals) RecordForbidden(ctx context.Context, by Caller, action, route, certificateID, requestID string) {
	e := by.Refusal(r.Clock(), action, CodeForbidden)
	if e.ProjectID == "" {
		e.ProjectID = SystemChain
	}
	e.CertificateID, e.RequestID, e.Detail["route"] = certificateID, requestID, route
	r.Record(ctx, e, by.User.ID)
}

// RecordUnknownToken records the use of a token that does not exist.
func (r *Refusals) RecordUnknownToken(ctx context.Context, from Origin) {
	r.recordOfNobody(ctx, Caller{Origin: from}, SystemChain, ActionDownloadRefused, CodeTokenUnknown, nil)
}

// RecordFailedSignIn records a password that is wrong, with the username that was
// tried. The caller is known if they meant to change their password.
func (r *Refusals) RecordFailedSignIn(ctx context.Context, by Caller, username string) {
	r.recordOfNobody(ctx, by, SystemChain, ActionLoginFailed, CodeWrongPassword, map[string]string{"username": escaped(username)})
}

// RecordInvalidKey records an API key that is not valid. One that came without its client
// certificate is known, so it is on record in its project.
func (r *Refusals) RecordInvalidKey(ctx context.Context, from Origin, known *APIKey) {
	chain, detail := SystemChain, map[string]string(nil)
	if known != nil {
		chain, detail = known.ProjectID, map[string]string{"key_id": known.ID}
	}
	r.recordOfNobody(ctx, Caller{Origin: from}, chain, ActionLoginFailed, CodeUnauthenticated, detail)
}

// recordOfNobody records a refusal that belongs mostly to nobody.
func (r *Refusals) recordOfNobody(ctx context.Context, by Caller, chain, action string, code Code, detail map[string]string) {
	e := by.Refusal(r.Clock(), action, code)
	e.ProjectID = chain
	if by.User.ID == "" {
		e.Actor = Actor{Type: "anonymous"}
	}
	maps.Copy(e.Detail, detail)
	r.Record(ctx, e, by.Network().String())
}

// escaped is what somebody typed, made safe to show: at most a hundred characters,
// and Go's escapes for those that are not printable.
func escaped(text string) string {
	quoted := strconv.Quote(certparse.Cut(text, MaxUsername))
	return quoted[1 : len(quoted)-1]
}

// admit takes a refusal from the quotas that it counts for, if all have one left.
func (r *Refusals) admit(e *AuditEntry, subject string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Clock()
	quotas := slices.Compact([]*refusalQuota{r.quota(*e, subject), r.quota(*e, "")}) // both can be the same
	for _, q := range quotas {
		if !q.allow(now) {
			q.omitted++
			q.last = *e
			return false
		}
	}
	omitted := 0
	for _, q := range quotas {
		omitted, q.omitted = omitted+q.omitted, 0
	}
	e.noteOmitted(omitted)
	return true
}

// noteOmitted says in a refusal how many like it were left out before.
func (e *AuditEntry) noteOmitted(omitted int) {
	if omitted > 0 {
		e.Detail["left_out_before"] = strconv.Itoa(omitted)
	}
}

// quota finds or makes the quota of a subject. The caller holds the lock.
func (r *Refusals) quota(e AuditEntry, subject string) *refusalQuota {
	if r.quotas == nil {
		r.quotas = map[refusalKind]*refusalQuota{}
	}
	kind := refusalKind{e.ProjectID, e.Action, e.Detail["code"], subject}
	q := r.quotas[kind]
	if q == nil && subject != "" && len(r.quotas) >= maxSubjects {
		return r.quota(e, "")
	}
	if q == nil {
		q = &refusalQuota{bucket: bucket{size: subjectRefusals, interval: subjectInterval}}
		if subject == "" {
			q.bucket = bucket{size: kindRefusals, interval: kindInterval}
		}
		r.quotas[kind] = q
	}
	return q
}

// omittedInterval is how often Run records what was left out.
const omittedInterval = 30 * time.Second

// Run calls RecordOmitted at intervals and, at the end of ctx, once more.
func (r *Refusals) Run(ctx context.Context) {
	tick := time.NewTicker(omittedInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		r.RecordOmitted(ctx)
	}
}

// RecordOmitted writes the last refusal that was left out of each quota, with the
// number of those before it, and forgets quotas that have not been used for long.
func (r *Refusals) RecordOmitted(ctx context.Context) {
	for _, e := range r.takeOmitted() {
		r.write(ctx, e)
	}
}

// takeOmitted returns the entries of RecordOmitted. What the quota of all subjects
// together does not allow is counted there.
func (r *Refusals) takeOmitted() (entries []AuditEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Clock()
	for kind, q := range r.quotas {
		if all := r.quotas[refusalKind{kind.chain, kind.action, kind.code, ""}]; q.omitted > 0 && kind.subject != "" && all != nil && !all.allow(now) {
			all.omitted, all.last, q.omitted = all.omitted+q.omitted, q.last, 0
		}
	}
	for kind, q := range r.quotas {
		if q.omitted > 0 {
			e := q.last
			e.noteOmitted(q.omitted - 1)
			q.omitted = 0
			entries = append(entries, e)
		} else if now.Sub(q.at) > time.Duration(q.size)*q.interval {
			delete(r.quotas, kind)
		}
	}
	return entries
}

func (r *Refusals) write(ctx context.Context, e AuditEntry) {
	ctx, cancel := Finishing(ctx) // the entry may be what a call had no time left for
	defer cancel()
	if err := r.Store.Append(ctx, e); err != nil {
		r.Log.ErrorContext(ctx, "a refusal could not be written to the audit log", "action", e.Action, "project", e.ProjectID, "error", err)
	}
}
