package engine

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// chain is an audit log in memory that a test can tamper with.
type chain struct {
	AuditLog
	entries []AuditEntry
}

func (c *chain) AuditAfter(_ context.Context, _ string, seq int64, limit int) ([]AuditEntry, error) {
	var page []AuditEntry
	for _, e := range c.entries {
		if e.Seq > seq && len(page) < limit {
			page = append(page, e)
		}
	}
	return page, nil
}

func (c *chain) AuditEntries(_ context.Context, q AuditQuery) (found []AuditEntry, next string, err error) {
	for _, e := range c.entries {
		if e.Action == q.Action {
			found = append([]AuditEntry{e}, found...)
		}
	}
	return found, "", nil
}

var testKey = []byte("audit key")

func newChain(n int) *chain {
	c := &chain{}
	var head AuditHead
	for i := range n {
		e := AuditEntry{ProjectID: "p", Time: time.Unix(int64(i), 123456789), Action: "a", Detail: map[string]string{"i": fmt.Sprint(i)}}
		head = e.Link(testKey, head)
		c.entries = append(c.entries, e)
	}
	return c
}

func TestVerifyFindsEveryTampering(t *testing.T) {
	for name, tamper := range map[string]func(c *chain){
		"a changed member":    func(c *chain) { c.entries[3].IP = "10.0.0.1" },
		"a changed detail":    func(c *chain) { c.entries[3].Detail["i"] = "x" },
		"a changed ref":       func(c *chain) { c.entries[3].Ref = "settle/other" },
		"a changed actor":     func(c *chain) { c.entries[3].Actor.Person = "x" },
		"a changed time":      func(c *chain) { c.entries[3].Time = c.entries[3].Time.Add(time.Millisecond) },
		"a gap":               func(c *chain) { c.entries = append(c.entries[:3], c.entries[4:]...) },
		"a reordering":        func(c *chain) { c.entries[3].Seq, c.entries[4].Seq = 5, 4 },
		"a lost beginning":    func(c *chain) { c.entries = c.entries[1:] },
		"another project's":   func(c *chain) { c.entries[3].ProjectID = "q" },
		"a relinked addition": func(c *chain) { c.entries[3].Action = "b"; c.entries[3].Hash = c.entries[3].digest(testKey) },
		"a whole chain that was computed without the key": func(c *chain) {
			var head AuditHead
			for i := range c.entries {
				head = c.entries[i].Link(nil, head)
			}
		},
	} {
		c := newChain(8)
		tamper(c)
		if v, err := VerifyAudit(t.Context(), c, testKey, "p", AuditHead{}); err != nil || v.OK || v.BrokenAt < 1 || v.Problem == "" {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

func TestVerifyWholeChains(t *testing.T) {
	for _, n := range []int{0, 1, verifyPage, verifyPage + 1, 2*verifyPage + 7} {
		v, err := VerifyAudit(t.Context(), newChain(n), testKey, "p", AuditHead{})
		if err != nil || !v.OK || v.Entries != int64(n) || v.Head.Seq != int64(n) {
			t.Errorf("%d entries: %+v, %v", n, v, err)
		}
	}
}

func TestAnchorRevealsATruncatedChain(t *testing.T) {
	c := newChain(8)
	anchor := AuditHead{Seq: 8, Hash: c.entries[7].Hash}
	if v, _ := VerifyAudit(t.Context(), c, testKey, "p", anchor); !v.OK {
		t.Errorf("whole chain against its own head: %+v", v)
	}
	cut := &chain{entries: c.entries[:6]}
	if v, _ := VerifyAudit(t.Context(), cut, testKey, "p", anchor); v.OK || v.BrokenAt != 7 {
		t.Errorf("cut chain: %+v", v)
	}
	rewritten := newChain(7)
	e := AuditEntry{ProjectID: "p", Action: "other"}
	e.Link(testKey, AuditHead{7, rewritten.entries[6].Hash})
	rewritten.entries = append(rewritten.entries, e)
	if v, _ := VerifyAudit(t.Context(), rewritten, testKey, "p", anchor); v.OK {
		t.Errorf("rewritten end: %+v", v)
	}
}

// A detail that a store returns as empty instead of missing is the same entry.
func TestEmptyDetailHashesAsNone(t *testing.T) {
	a, b := AuditEntry{Action: "a"}, AuditEntry{Action: "a", Detail: map[string]string{}}
	if a.Link(testKey, AuditHead{}) != b.Link(testKey, AuditHead{}) {
		t.Error("an empty detail and none hash differently")
	}
}
