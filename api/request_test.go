package api_test

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

func TestRequests(t *testing.T) {
	f := newFixture(t)
	mine := f.mint("operator", "shop", `{"format":"cert","reason":"renewal","ttl_seconds":60,"bind_ip":"127.0.0.1"}`)
	other := f.mint("second", "alone", `{"format":"cert"}`)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"key"}`).is(403)
	for as, want := range map[string]int{"operator": 2, "second": 1, "approver": 3, "admin": 3, "root": 3} {
		page := read[wire.Page[wire.Request]](f.do(as, "GET", "{p}/requests", "").is(200))
		if len(page.Items) != want || page.NextCursor != nil {
			t.Errorf("%s sees %d, want %d", as, len(page.Items), want)
		}
	}
	for query, want := range map[string]int{
		"status=issued": 2, "status=denied": 1, "status=consumed": 0, "certificate_id=" + f.certs["alone"].ID: 1,
		"status=issued&certificate_id=" + f.certs["shop"].ID: 1, "requester=" + f.users["second"].ID: 1, "requester=nobody": 0,
	} {
		if page := read[wire.Page[wire.Request]](f.do("admin", "GET", "{p}/requests?"+query, "").is(200)); len(page.Items) != want {
			t.Errorf("%s: %d, want %d", query, len(page.Items), want)
		}
	}
	f.do("operator", "GET", "{p}/requests?requester="+f.users["operator"].ID, "").is(200)
	f.do("operator", "GET", "{p}/requests?requester="+f.users["second"].ID, "").problem(403, engine.CodeForbidden)
	a := f.do("operator", "GET", "{p}/requests/"+mine.RequestID, "").is(200)
	members(t, a.body, "id", "status", "certificate_id", "format", "filename", "options", "requester", "reason", "ttl_seconds",
		"bind_ip", "code", "explanation", "remedies", "policy_revision", "created_at", "updated_at", "expires_at",
		"approval_id", "required_approvals", "quorum_note", "approval_expires_at", "claim_expires_at")
	r := read[wire.Request](a)
	if r.Reason != "renewal" || r.TTLSeconds != 60 || r.Requester.Person != f.users["operator"].ID || r.Requester.Type != "api_key" || r.ExpiresAt == nil {
		t.Fatalf("%+v", r)
	}
	f.do("operator", "GET", "{p}/requests/"+other.RequestID, "").problem(404, engine.CodeNotFound)
	f.do("approver", "GET", "{p}/requests/"+other.RequestID, "").is(200)
	f.do("operator", "GET", "{p}/requests/none", "").problem(404, engine.CodeNotFound)
}

func TestPages(t *testing.T) {
	f := newFixture(t)
	var want []string
	for range 5 {
		want = append([]string{f.mint("operator", "shop", `{"format":"cert"}`).RequestID}, want...)
	}
	seen, cursor := map[string]bool{}, ""
	for pages := 1; ; pages++ {
		page := read[wire.Page[wire.Request]](f.do("operator", "GET", "{p}/requests?limit=2&cursor="+cursor, "").is(200))
		for _, r := range page.Items {
			seen[r.ID] = true
		}
		if page.NextCursor == nil {
			if pages != 3 || len(seen) != len(want) {
				t.Fatalf("%d pages, %d requests", pages, len(seen))
			}
			return
		}
		cursor = *page.NextCursor
	}
}

// The list of a user's requests before a time comes page by page and excludes the
// request of that time.
func TestRequestsBefore(t *testing.T) {
	f := newFixture(t)
	var made []wire.Request // newest last
	for range 4 {
		f.mint("second", "shop", `{"format":"cert"}`)
		m := f.mint("operator", "shop", `{"format":"cert"}`)
		made = append(made, read[wire.Request](f.do("operator", "GET", "{p}/requests/"+m.RequestID, "").is(200)))
		f.skew.Add(int64(time.Second))
	}
	path := "{p}/requests?requester=" + f.users["operator"].ID + "&limit=1&before=" + made[3].CreatedAt.Format(time.RFC3339Nano)
	var got []string
	for cursor := ""; ; {
		page := read[wire.Page[wire.Request]](f.do("approver", "GET", path+"&cursor="+cursor, "").is(200))
		for _, r := range page.Items {
			got = append(got, r.ID)
		}
		if page.NextCursor == nil {
			break
		}
		cursor = *page.NextCursor
	}
	if want := []string{made[2].ID, made[1].ID, made[0].ID}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, before := range []string{"yesterday", "9999-12-31T23:59:59-14:00", "0000-01-01T00:00:00Z"} {
		f.do("approver", "GET", "{p}/requests?before="+before, "").problem(422, engine.CodeInvalidRequest)
	}
	f.do("approver", "GET", path+"&cursor=x", "").problem(422, engine.CodeInvalidRequest)
}

func TestClaimAndCancel(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	path := "{p}/requests/" + m.RequestID
	f.do("operator", "POST", path+"/token", `{"passphrase":"x","more":1}`).problem(422, engine.CodeInvalidRequest)
	f.do("operator", "POST", path+"/token", `{"passphrase":""}`).problem(409, engine.CodeNotApproved)
	f.do("operator", "POST", path+"/cancel", "").problem(409, engine.CodeNotPending)
	f.do("admin", "POST", path+"/token", `{}`).problem(403, engine.CodeForbidden)
	f.do("admin", "POST", path+"/cancel", "").problem(403, engine.CodeForbidden)
	f.do("second", "POST", path+"/cancel", "").problem(404, engine.CodeNotFound)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"key"}`).is(403)
	denied := read[wire.Page[wire.Request]](f.do("operator", "GET", "{p}/requests?status=denied", "").is(200)).Items[0]
	if denied.Code != "key_export_disabled" || len(denied.Remedies) == 0 || denied.ExpiresAt != nil {
		t.Fatalf("%+v", denied)
	}
	f.do("operator", "POST", "{p}/requests/"+denied.ID+"/token", `{}`).problem(409, engine.CodeNotPending)
	f.do("operator", "DELETE", "{p}/requests/"+denied.ID+"/token", "").problem(409, engine.CodeNotPending)
}

func TestRevoke(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	path := "{p}/requests/" + m.RequestID + "/token"
	f.do("approver", "DELETE", path, "").problem(403, engine.CodeForbidden)
	f.do("second", "DELETE", path, "").problem(404, engine.CodeNotFound)
	if a := f.do("operator", "DELETE", path, "").is(204); len(a.body) != 0 {
		t.Fatalf("%q", a.body)
	}
	if r := f.reported(); r.RequestID != m.RequestID || r.Interrupted {
		t.Fatalf("%+v", r)
	}
	f.do("operator", "DELETE", path, "").problem(409, engine.CodeNotPending)
	other := f.mint("operator", "shop", `{"format":"cert"}`)
	f.do("admin", "DELETE", "{p}/requests/"+other.RequestID+"/token", "").is(204)
	if entries := f.entries(f.project.ID, engine.ActionTokenRevoked); len(entries) != 2 || entries[0].Actor.Person != f.users["admin"].ID {
		t.Fatalf("%+v", entries)
	}
}
