package engine

import (
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Anchor is the heads of all audit chains at a time, stored outside the database. A
// database that lacks an entry of the anchor was rolled back or rewritten.
// Installation names the installation by its audit key, and reveals nothing about
// that key. MAC is the HMAC-SHA-256 (RFC 2104) of the other members, in hex, under a
// key derived from the audit key (HKDF, RFC 5869). So nobody without the audit key can
// make an anchor, but whoever can write one may put an older one in its place.
type Anchor struct {
	Version      int                  `json:"version"`
	Installation string               `json:"installation"`
	Time         time.Time            `json:"time"`
	Heads        map[string]AuditHead `json:"heads"`
	MAC          string               `json:"mac"`
}

const anchorVersion = 1

// AnchorTarget is where the anchor is kept. Both methods end by the end of ctx.
type AnchorTarget interface {
	// ReadAnchor returns what was last written, or CodeNotFound if nothing was.
	ReadAnchor(ctx context.Context) ([]byte, error)
	// WriteAnchor replaces the anchor as a whole, and returns when it is durable.
	WriteAnchor(ctx context.Context, text []byte) error
	// String names the target for people, without credentials.
	String() string
}

// encodeAnchor makes the anchor with these heads.
func encodeAnchor(auditKey []byte, at time.Time, heads map[string]AuditHead) ([]byte, error) {
	a := Anchor{Version: anchorVersion, Installation: derived(auditKey, "anchor installation"), Time: at, Heads: heads}
	mac, err := a.mac(auditKey)
	if err != nil {
		return nil, err
	}
	a.MAC = mac
	text, err := json.MarshalIndent(a, "", "  ")
	return append(text, '\n'), err
}

// decodeAnchor reads an anchor and checks that this installation wrote it.
func decodeAnchor(auditKey, text []byte) (Anchor, error) {
	var a Anchor
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("it is no anchor: %w", err)
	}
	mac, err := a.mac(auditKey)
	switch {
	case err != nil:
		return a, err
	case a.Version != anchorVersion:
		return a, fmt.Errorf("it has version %d, and this program reads version %d; run the program that wrote it", a.Version, anchorVersion)
	case a.Installation != derived(auditKey, "anchor installation"):
		return a, errors.New("it belongs to another installation, or the database lost its keys")
	case !hmac.Equal([]byte(mac), []byte(a.MAC)):
		return a, errors.New("it was changed: its MAC does not match")
	}
	return a, nil
}

// mac is the HMAC of the anchor's JSON without MAC, in hex. The encoding is
// canonical: members in the order of the type, map keys sorted.
func (a Anchor) mac(auditKey []byte) (string, error) {
	a.MAC = ""
	text, err := json.Marshal(a)
	mac := hmac.New(sha256.New, []byte(derived(auditKey, "anchor mac")))
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil)), err
}

// derived is 256 bits, in hex, that only who has the audit key can compute.
func derived(auditKey []byte, purpose string) string {
	key, err := hkdf.Key(sha256.New, auditKey, nil, "countersign "+purpose+" v1", sha256.Size)
	if err != nil {
		panic(err) // HKDF fails only for lengths that no hash allows
	}
	return hex.EncodeToString(key)
}

// Behind is a chain that lacks the entry that the anchor has. Database is the last
// entry that the database has of it.
type Behind struct {
	Chain              string
	Anchored, Database AuditHead
}

// Error implements error.
func (b *Behind) Error() string {
	return fmt.Sprintf("the audit chain %s has entry %s in the anchor, which is not in the database; the last entry of the database is %s", b.Chain, b.Anchored, b.Database)
}

// String is the head as SEQ:HASH, or "none" for an empty chain.
func (h AuditHead) String() string {
	if h.Seq == 0 {
		return "none"
	}
	return fmt.Sprintf("%d:%s", h.Seq, h.Hash)
}

// chains lists the chains of the database, of the anchored heads and of those that this
// process knows, sorted: a chain that was deleted from two of them is not forgotten.
func (a *Anchors) chains(ctx context.Context, anchored map[string]AuditHead) ([]string, error) {
	names := map[string]bool{SystemChain: true}
	a.mu.Lock()
	for _, heads := range []map[string]AuditHead{anchored, a.heads} {
		for chain := range heads {
			names[chain] = true
		}
	}
	a.mu.Unlock()
	projects, err := a.projects(ctx)
	maps.Copy(names, projects)
	return slices.Sorted(maps.Keys(names)), err
}

// require returns a [Behind] unless the database has the anchored entry, unchanged, or
// retention has deleted it.
func (a *Anchors) require(ctx context.Context, chain string, anchored AuditHead) error {
	if has, err := hasEntry(ctx, a.Store, a.Key, chain, anchored); err != nil || has {
		return err
	}
	last, _, err := a.Store.AuditEntries(ctx, AuditQuery{ProjectID: chain, Page: Page{Limit: 1}})
	if err != nil {
		return fmt.Errorf("read audit chain %s: %w", chain, err)
	}
	behind := &Behind{Chain: chain, Anchored: anchored}
	if len(last) > 0 {
		behind.Database = AuditHead{Seq: last[0].Seq, Hash: last[0].Hash}
	}
	return behind
}

// follow returns the head of a chain, after it has verified what was appended since
// the earlier one of two anchored heads and that the chain has the entries of both.
// So it never anchors what somebody without the audit key wrote.
func (a *Anchors) follow(ctx context.Context, chain string, one, other AuditHead) (AuditHead, error) {
	anchored := []AuditHead{one, other}
	slices.SortFunc(anchored, func(a, b AuditHead) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, head := range anchored {
		if head.Seq > 0 {
			if err := a.require(ctx, chain, head); err != nil {
				return head, err
			}
		}
	}
	found, err := verifyAfter(ctx, a.Store, a.Key, chain, anchored[0], AuditHead{}, func(AuditEntry) {})
	if err == nil && !found.OK { // retention may have deleted entries behind the anchored one
		found, err = fromBeginning(ctx, a.Store, a.Key, chain, func(from cut) (AuditVerification, error) {
			return verifyFrom(ctx, a.Store, a.Key, chain, from, anchored[0], AuditHead{}, func(AuditEntry) {})
		})
	}
	if err == nil && !found.OK {
		err = fmt.Errorf("the audit chain %s is broken at entry %d: %s", chain, found.BrokenAt, found.Problem)
	}
	return found.Head, err
}

// BehindError says that the database lacks entries of the anchor.
type BehindError struct {
	Target string
	Time   time.Time
	Chains []*Behind
}

// Error implements error.
func (e *BehindError) Error() string {
	const most = 3
	var text strings.Builder
	for _, b := range e.Chains[:min(most, len(e.Chains))] {
		fmt.Fprintf(&text, "%s. ", b)
	}
	if more := len(e.Chains) - most; more > 0 {
		fmt.Fprintf(&text, "%d more chains are behind. ", more)
	}
	return fmt.Sprintf("the database is older than the anchor of its audit log of %s in %s: %sIf this database was restored from a backup on purpose, start once with --accept-restore, which revokes every token that has not been used, and ends every request that waits or could be claimed; else the audit log was rolled back or rewritten: keep this database and find out by whom",
		e.Time.UTC().Format(time.RFC3339), e.Target, text.String())
}
