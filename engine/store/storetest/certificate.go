package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

var certificateContracts = []contract{
	{"create", certificateCreate},
	{"without key", certificateWithoutKey},
	{"create again", certificateCreateAgain},
	{"listing", certificateListing},
	{"listing while it grows", certificateListingGrows},
	{"search", certificateSearch},
	{"timeline", certificateTimeline},
	{"purge of events", certificatePurgeEvents},
	{"count by end", certificateCount},
}

func newCertificate(projectID, name string) engine.Certificate {
	return engine.Certificate{
		ID: engine.NewID("cert"), ProjectID: projectID, Name: name, Subject: "CN=" + name, SANs: []string{name, "192.0.2.1"},
		Issuer: "CN=Issuing CA", Serial: "0a1b", NotBefore: noon, NotAfter: noon.AddDate(1, 0, 0), KeyAlgorithm: "ECDSA-P256",
		Fingerprint: "00ff", Leaf: []byte{0x30, 0, 255}, Chain: [][]byte{{1}, {2, 0}}, Warnings: []string{"a", "b"}, CreatedAt: noon,
	}
}

func newSealedKey() *engine.SealedKey {
	return &engine.SealedKey{KeeperID: "local", WrappedKey: []byte{0, 1, 254}, Ciphertext: []byte{255, 0}}
}

func certificateOrder(c engine.Certificate) engine.Cursor {
	return engine.Cursor{Time: c.CreatedAt, ID: c.ID}
}

func certificateCreate(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	c := newCertificate(project, "www.example.com")
	c.HasPrivateKey = true
	_, err := s.Certificate(ctx, project, c.ID)
	refused(t, err, engine.CodeNotFound)

	rec := record(project)
	rec.Event = event(project, c.ID)
	ok(t, s.CreateCertificate(ctx, c, newSealedKey(), rec))
	same(t, get[engine.Certificate](t)(s.Certificate(ctx, project, c.ID)), c)
	same(t, get[engine.SealedKey](t)(s.SealedKey(ctx, c.ID)), newSealedKey())
	onRecord(t, s, project, rec)
	lists(t, timeline(t, s, project, c.ID), []engine.Event{*rec.Event})

	_, err = s.Certificate(ctx, engine.NewID("prj"), c.ID)
	refused(t, err, engine.CodeNotFound)
}

func certificateWithoutKey(t *testing.T, s engine.Store) {
	ctx, c := t.Context(), newCertificate(engine.NewID("prj"), "keyless")
	ok(t, s.CreateCertificate(ctx, c, nil, record(c.ProjectID)))
	same(t, get[engine.Certificate](t)(s.Certificate(ctx, c.ProjectID, c.ID)), c)
	_, err := s.SealedKey(ctx, c.ID)
	refused(t, err, engine.CodeNotFound)
}

func certificateCreateAgain(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	c, rec := newCertificate(project, "www"), record(project)
	c.HasPrivateKey = true
	ok(t, s.CreateCertificate(ctx, c, newSealedKey(), rec))

	other, key := newCertificate(project, "other"), newSealedKey()
	other.ID, key.Ciphertext = c.ID, []byte("another")
	refused(t, s.CreateCertificate(ctx, other, key, record(project)), engine.CodeExists)
	same(t, get[engine.Certificate](t)(s.Certificate(ctx, project, c.ID)), c)
	same(t, get[engine.SealedKey](t)(s.SealedKey(ctx, c.ID)), newSealedKey())
	onRecord(t, s, project, rec)
}

func certificateListing(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	var stored []engine.Certificate
	for _, at := range times {
		c := newCertificate(project, "www")
		c.CreatedAt = at
		ok(t, s.CreateCertificate(ctx, c, nil, record(project)))
		stored = append(stored, c)
	}
	other := newCertificate(engine.NewID("prj"), "www")
	ok(t, s.CreateCertificate(ctx, other, nil, record(project)))
	for _, query := range []string{"", "ww"} {
		lists(t, search(t, s, project, query), newestFirst(stored, certificateOrder))
		lists(t, search(t, s, other.ProjectID, query), []engine.Certificate{other})
	}
}

func search(t *testing.T, s engine.Store, projectID, query string) lister[engine.Certificate] {
	return func(page engine.Page) ([]engine.Certificate, string, error) {
		return s.Certificates(t.Context(), projectID, query, page)
	}
}

// A certificate that is added between two pages does not change the following pages.
func certificateListingGrows(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	var stored []engine.Certificate
	for _, at := range times {
		c := newCertificate(project, "www")
		c.CreatedAt = at
		ok(t, s.CreateCertificate(ctx, c, nil, record(project)))
		stored = append(stored, c)
	}
	newest := noon.AddDate(0, 0, 1)
	grows := func(page engine.Page) ([]engine.Certificate, string, error) {
		items, next, err := s.Certificates(ctx, project, "", page)
		c := newCertificate(project, "late")
		c.CreatedAt, newest = newest, newest.Add(time.Second)
		ok(t, s.CreateCertificate(ctx, c, nil, record(project)))
		return items, next, err
	}
	same(t, walk(t, grows, 2), newestFirst(stored, certificateOrder))
}

func certificateSearch(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	for i, text := range []string{"www.example.com\nmail", "100%_done\\o/", "wwwxexample.com", "münchen.example"} {
		c := newCertificate(project, text)
		c.CreatedAt = noon.Add(time.Duration(i) * time.Second)
		ok(t, s.CreateCertificate(ctx, c, nil, record(project)))
	}
	for query, want := range map[string]string{
		"":           "münchen.example wwwxexample.com 100%_done\\o/ www.example.com\nmail",
		"example":    "münchen.example wwwxexample.com www.example.com\nmail",
		"www.":       "www.example.com\nmail",
		"mail www.e": "www.example.com\nmail", // every word, in any order
		"w.*m":       "",
		"0%_d":       "100%_done\\o/",
		"1%d":        "",
		"e\\o":       "100%_done\\o/",
		"münch":      "münchen.example",
		"[":          "",
		"'":          "",
		"$":          "",
		"nowhere":    "",
	} {
		var found []string
		for _, c := range walk(t, search(t, s, project, query), 2) {
			found = append(found, c.Name)
		}
		if got := strings.Join(found, " "); got != want {
			t.Errorf("query %q found %q, want %q", query, got, want)
		}
	}
}

func timeline(t *testing.T, s engine.Store, projectID, certificateID string) lister[engine.Event] {
	return func(page engine.Page) ([]engine.Event, string, error) {
		return s.Events(t.Context(), engine.EventQuery{ProjectID: projectID, CertificateID: certificateID, Page: page})
	}
}

func certificateTimeline(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	c, other := newCertificate(project, "www"), newCertificate(project, "other")
	ok(t, s.CreateCertificate(ctx, other, nil, record(project)))
	lists(t, timeline(t, s, project, c.ID), nil)

	rec := record(project)
	rec.Event = event(project, c.ID)
	ok(t, s.CreateCertificate(ctx, c, nil, rec))
	events := []engine.Event{*rec.Event}
	for i, at := range times {
		token := newToken(project, engine.NewID("req"))
		settlement, ended := newSettlement(token, engine.Consumed)
		ended.Event = event(project, c.ID)
		ended.Event.Time, ended.Event.RequestID = at, []string{"req_b", "req_b", ""}[i%3]
		_, _, err := s.Settle(ctx, settlement, ended)
		ok(t, err)
		events = append(events, *ended.Event)
	}
	events = newestFirst(events, func(e engine.Event) engine.Cursor { return engine.Cursor{Time: e.Time, ID: e.ID} })
	lists(t, timeline(t, s, project, c.ID), events)
	lists(t, timeline(t, s, project, other.ID), nil)
	for _, request := range []string{"req_a", "req_b", "req_none"} {
		of := func(certificateID string) lister[engine.Event] {
			return func(page engine.Page) ([]engine.Event, string, error) {
				return s.Events(ctx, engine.EventQuery{ProjectID: project, CertificateID: certificateID, RequestID: request, Page: page})
			}
		}
		lists(t, of(c.ID), slices.DeleteFunc(slices.Clone(events), func(e engine.Event) bool { return e.RequestID != request }))
		lists(t, of(other.ID), nil)
	}
	lists(t, timeline(t, s, engine.NewID("prj"), c.ID), nil)
}

// Only events from before a time are purged, in batches, of all certificates.
func certificatePurgeEvents(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	before := noon.Add(-1000 * time.Hour)
	var kept []engine.Event
	for i := range 7 {
		rec := record(project)
		rec.Event = event(project, fmt.Sprint("cert_", i%2))
		rec.Event.Time = before.Add(time.Duration(i-5) * time.Minute)
		ok(t, s.CreateCertificate(ctx, newCertificate(project, "www"), nil, rec))
		if i >= 5 {
			kept = append(kept, *rec.Event)
		}
	}
	for _, want := range []int{2, 2, 1, 0} {
		same(t, get[int](t)(s.PurgeEvents(ctx, before, 2)), want)
	}
	for i, want := range []engine.Event{kept[1], kept[0]} {
		left, _, err := s.Events(ctx, engine.EventQuery{ProjectID: project, CertificateID: fmt.Sprint("cert_", i), Page: engine.Page{Limit: 9}})
		ok(t, err)
		same(t, left, []engine.Event{want})
	}
}

func certificateCount(t *testing.T, s engine.Store) {
	ctx, end := t.Context(), noon.AddDate(20, 0, 0).Truncate(time.Second)
	for i := range 3 {
		c := newCertificate(engine.NewID("prj"), "ends")
		c.NotAfter = end.Add(time.Duration(i) * time.Hour)
		ok(t, s.CreateCertificate(ctx, c, nil, record(c.ProjectID)))
	}
	for _, c := range []struct {
		from, until time.Duration
		limit, want int
	}{
		{0, time.Hour, 10, 1}, {0, time.Hour + time.Second, 10, 2}, {-time.Hour, 24 * time.Hour, 10, 3}, {time.Second, 24 * time.Hour, 10, 2},
		{-time.Hour, 24 * time.Hour, 2, 2}, {-time.Hour, 0, 10, 0},
	} {
		if n := get[int](t)(s.CountCertificates(ctx, end.Add(c.from), end.Add(c.until), c.limit)); n != c.want {
			t.Errorf("%d end from %s until %s after the first, want %d", n, c.from, c.until, c.want)
		}
	}
}
