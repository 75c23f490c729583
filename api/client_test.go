package api_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

func (f *fixture) client(as string) *client.Client {
	f.t.Helper()
	c, err := client.New(f.url, wire.Secret(f.keys[as]))
	must(f.t, err)
	return c
}

// want takes a client method's results and returns its value.
func want[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func refusedWith(t *testing.T, err error, status int, code string) {
	t.Helper()
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || p.Status != status || p.Code != code || p.Title == "" || p.RequestID == "" {
		t.Fatalf("%v, want %d %s", err, status, code)
	}
}

func TestClientDownloads(t *testing.T) {
	f := newFixture(t)
	ctx, c, p := t.Context(), f.client("operator"), f.project.ID
	m := want[client.Minted](t)(c.Mint(ctx, p, f.certs["shop"].ID, wire.MintBody{Format: "fullchain"}, "once"))
	again := want[client.Minted](t)(c.Mint(ctx, p, f.certs["shop"].ID, wire.MintBody{Format: "fullchain"}, "once"))
	if m.Token == "" || m.Replayed != nil || again.Token != "" || again.Replayed == nil || again.RequestID != m.RequestID {
		t.Fatalf("%+v, %+v", m, again)
	}
	file, err := f.client("nobody").Redeem(ctx, m.Token)
	must(t, err)
	content, err := io.ReadAll(file)
	must(t, err)
	must(t, file.Close())
	if file.Name != "fullchain.pem" || file.Size != int64(len(content)) || strings.Count(string(content), "BEGIN CERTIFICATE") != 2 {
		t.Fatalf("%s of %d bytes: %s", file.Name, file.Size, content)
	}
	_, err = c.Redeem(ctx, m.Token)
	refusedWith(t, err, 410, "token_consumed")
	_, err = c.Mint(ctx, p, f.certs["shop"].ID, wire.MintBody{Format: "key"}, "")
	refusedWith(t, err, 403, "key_export_disabled")
	other := want[client.Minted](t)(c.Mint(ctx, p, f.certs["shop"].ID, wire.MintBody{Format: "cert"}, ""))
	_, err = c.Cancel(ctx, p, other.RequestID)
	refusedWith(t, err, 409, "not_pending")
	_, err = c.Claim(ctx, p, other.RequestID, "")
	refusedWith(t, err, 409, "not_approved")
	must(t, c.Revoke(ctx, p, other.RequestID))
	if r := want[wire.Request](t)(c.Request(ctx, p, other.RequestID)); r.ID != other.RequestID {
		t.Fatalf("%+v", r)
	}
	if page := want[wire.Page[wire.Request]](t)(c.Requests(ctx, p, client.RequestQuery{Status: "denied"})); len(page.Items) != 1 {
		t.Fatalf("%+v", page)
	}
}

func TestClientAdministers(t *testing.T) {
	f := newFixture(t)
	ctx, c, root, p := t.Context(), f.client("admin"), f.client("root"), f.project.ID
	id := leaf("client.example.com")
	made := want[wire.Certificate](t)(c.Import(ctx, p, wire.ImportBody{Name: "client", CertificatePEM: id.certPEM(), PrivateKeyPEM: wire.Secret(id.keyPEM())}))
	all, err := client.All(0, func(at client.Paging) (wire.Page[wire.Certificate], error) {
		at.Limit = 3
		return c.Certificates(ctx, p, "", at)
	})
	must(t, err)
	if len(all) != 4 || all[0].ID != made.ID {
		t.Fatalf("%+v", all)
	}
	some, err := client.All(2, func(at client.Paging) (wire.Page[wire.Certificate], error) { return c.Certificates(ctx, p, "", at) })
	must(t, err)
	if len(some) != 2 || want[wire.Certificate](t)(c.Certificate(ctx, p, made.ID)).Name != "client" {
		t.Fatalf("%+v", some)
	}
	policy, etag, err := c.Policy(ctx, p)
	must(t, err)
	policy.AllowKeyExport = true
	if set := want[wire.Policy](t)(c.SetPolicy(ctx, p, policy, etag)); !set.AllowKeyExport {
		t.Fatalf("%+v", set)
	}
	_, err = c.SetPolicy(ctx, p, policy, etag)
	refusedWith(t, err, 412, "precondition_failed")
	if v := want[wire.Verdict](t)(c.Evaluate(ctx, p, wire.EvaluateBody{CertificateID: made.ID, Format: "key"})); v.Outcome != "allow" {
		t.Fatalf("%+v", v)
	}
	user := want[wire.User](t)(root.CreateUser(ctx, wire.UserBody{Username: "made"}))
	if m := want[wire.Member](t)(c.SetMember(ctx, p, user.ID, "viewer")); m.Username != "made" {
		t.Fatalf("%+v", m)
	}
	must(t, root.SignOutUser(ctx, user.ID))
	if in := want[wire.Page[wire.SignedIn]](t)(root.UserSessions(ctx, user.ID, client.Paging{})); len(in.Items) != 0 {
		t.Fatalf("%+v", in)
	}
	key := want[wire.NewAPIKey](t)(c.CreateAPIKey(ctx, p, wire.APIKeyBody{Name: "k", Role: "viewer"}))
	must(t, c.RevokeAPIKey(ctx, p, key.ID))
	other := want[wire.Project](t)(root.CreateProject(ctx, "Other"))
	if _, err := root.Certificate(ctx, other.ID, made.ID); err == nil {
		t.Fatal("a key reached another project")
	}
	if reloaded := want[wire.Plugin](t)(root.ReloadPlugin(ctx, "zip")); reloaded.Name != "zip" {
		t.Fatalf("%+v", reloaded)
	}
}

func TestClientReads(t *testing.T) {
	f := newFixture(t)
	ctx, c, root, p, first := t.Context(), f.client("admin"), f.client("root"), f.project.ID, client.Paging{}
	for name, n := range map[string]int{
		"projects": len(want[wire.Page[wire.Project]](t)(c.Projects(ctx, first)).Items),
		"members":  len(want[wire.Page[wire.Member]](t)(c.Members(ctx, p, first)).Items),
		"keys":     len(want[wire.Page[wire.APIKey]](t)(c.APIKeys(ctx, p, first)).Items),
		"formats":  len(want[wire.Page[wire.Format]](t)(c.Formats(ctx, p, first)).Items),
		"audit":    len(want[wire.Page[wire.AuditEntry]](t)(c.AuditLogs(ctx, p, client.AuditQuery{Action: "cert.imported"})).Items),
		"system":   len(want[wire.Page[wire.AuditEntry]](t)(root.AuditLogs(ctx, client.SystemChain, client.AuditQuery{})).Items),
		"users":    len(want[wire.Page[wire.User]](t)(root.Users(ctx, first)).Items),
		"plugins":  len(want[wire.Page[wire.Plugin]](t)(root.Plugins(ctx, first)).Items),
	} {
		if n == 0 {
			t.Errorf("no %s", name)
		}
	}
	v := want[wire.AuditVerdict](t)(c.VerifyAudit(ctx, p, wire.AuditHead{}, false))
	if !v.OK || !want[wire.AuditVerdict](t)(c.VerifyAudit(ctx, p, v.Head, false)).OK {
		t.Errorf("%+v", v)
	}
	export, err := c.ExportAudit(ctx, p, client.AuditQuery{}, "ndjson")
	must(t, err)
	text, err := io.ReadAll(export)
	must(t, err)
	must(t, export.Close())
	if lines := strings.Count(string(text), "\n"); int64(lines) != v.Entries {
		t.Errorf("%d lines of %d entries", lines, v.Entries)
	}
	_, err = c.ExportAudit(ctx, p, client.AuditQuery{}, "xml")
	refusedWith(t, err, 422, "invalid_request")
}
