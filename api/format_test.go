package api_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/host"
)

// ownPlugins gives the server a host of its own, on a catalogue of its own.
func (f *fixture) ownPlugins(o host.Options) (h *host.Host, catalogue string) {
	f.t.Helper()
	dir := f.t.TempDir()
	files, err := os.ReadDir(built)
	must(f.t, err)
	for _, file := range files {
		must(f.t, os.Symlink(filepath.Join(built, file.Name()), filepath.Join(dir, file.Name())))
	}
	catalogue = filepath.Join(dir, "own.json")
	text, err := os.ReadFile(filepath.Join(built, "catalogue.json"))
	must(f.t, err)
	must(f.t, os.WriteFile(catalogue, text, 0o600))
	o.Catalogue, o.Logger = catalogue, slog.New(slog.DiscardHandler)
	h, err = host.Open(f.t.Context(), o)
	must(f.t, err)
	f.t.Cleanup(func() { must(f.t, h.Close()) })
	f.downloads.Formats = h
	return h, catalogue
}

// restrict sets the projects that have a plugin's formats; none: all of them.
func restrict(t *testing.T, h *host.Host, catalogue, plugin string, projects ...string) {
	t.Helper()
	text, err := os.ReadFile(catalogue)
	must(t, err)
	var c struct {
		Plugins []map[string]any `json:"plugins"`
	}
	must(t, json.Unmarshal(text, &c))
	for _, entry := range c.Plugins {
		if entry["name"] == plugin {
			if delete(entry, "projects"); projects != nil {
				entry["projects"] = projects
			}
		}
	}
	text, err = json.Marshal(c)
	must(t, err)
	must(t, os.WriteFile(catalogue, text, 0o600))
	must(t, h.Reload(plugin))
}

// formatIDs are the formats that a project is shown.
func (f *fixture) formatIDs(as, project string) (ids []string) {
	f.t.Helper()
	for _, format := range read[wire.Page[wire.Format]](f.do(as, "GET", "/projects/"+project+"/formats", "").is(200)).Items {
		ids = append(ids, format.ID)
	}
	return ids
}

// A project has no format of a plugin that is not enabled for it, and none that
// includes such a format; a token issued before is refused and not consumed.
func TestFormatsOfProjects(t *testing.T) {
	f := newFixture(t)
	h, catalogue := f.ownPlugins(host.Options{})
	all := f.formatIDs("viewer", f.project.ID)
	mine, _, err := f.store.Projects(t.Context(), f.users["outsider"].ID, engine.Page{Limit: 1})
	must(t, err)
	elsewhere := mine[0].ID

	f.mode(true, engine.ApprovalOff)
	minted := f.mint("operator", "shop", `{"format":"pkcs12","passphrase":"correct horse"}`)
	f.mode(true, engine.ApprovalAll)
	claim := "{p}/requests/" + f.approved(`{"format":"zip"}`).RequestID + "/token"

	restrict(t, h, catalogue, "pkcs12", elsewhere)
	if got := f.formatIDs("outsider", elsewhere); !slices.Equal(got, all) {
		t.Errorf("elsewhere: %v", got)
	}
	left := slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == "pkcs12" || id == "zip" })
	if got := f.formatIDs("viewer", f.project.ID); !slices.Equal(got, left) || len(left) != len(all)-2 {
		t.Errorf("here: %v", got)
	}
	for _, name := range []string{"pkcs12", "bundle.pkcs12", "zip", "bundle.zip"} {
		evaluate := `{"certificate_id":"` + f.certs["shop"].ID + `","format":"` + name + `"}`
		for path, body := range map[string]string{"{c:shop}/downloads": `{"format":"` + name + `"}`, "{p}/certificate-policy/evaluate": evaluate} {
			p := f.do("operator", "POST", path, body).problem(422, engine.CodeUnknownFormat)
			if available, _ := p.Fields["available"].([]any); len(available) != len(left) || slices.Contains(available, any("zip")) {
				t.Errorf("%s %s: %v", path, name, p.Fields)
			}
		}
	}
	f.do("", "GET", "/downloads/"+minted.Token.Reveal(), "").problem(403, engine.CodePolicyDenied)
	f.do("", "HEAD", "/downloads/"+minted.Token.Reveal(), "").is(403)
	f.do("operator", "POST", claim, `{"passphrase":"correct horse"}`).problem(422, engine.CodeUnknownFormat)

	restrict(t, h, catalogue, "pkcs12", f.project.ID, elsewhere)
	f.allowKeys(true)
	f.do("", "GET", "/downloads/"+minted.Token.Reveal(), "").is(200)
	claimed := read[wire.Minted](f.do("operator", "POST", claim, `{"passphrase":"correct horse"}`).is(201))
	f.do("", "GET", "/downloads/"+claimed.Token.Reveal(), "").is(200)
	restrict(t, h, catalogue, "pkcs12")
	if got := f.formatIDs("viewer", f.project.ID); !slices.Equal(got, all) {
		t.Errorf("without a restriction: %v", got)
	}
}

type renderer = engine.Formats

// thief has another format answer to the id of one.
type thief struct{ renderer }

func (t thief) Format(name string) (engine.Format, bool) {
	if name == "cert" {
		name = "fullchain"
	}
	return t.renderer.Format(name)
}

// A token is for the format that it was issued for, whatever takes its name later.
func TestAFormatThatTakesAName(t *testing.T) {
	f := newFixture(t)
	issued := f.mint("operator", "shop", `{"format":"cert"}`)
	own := f.downloads.Formats
	f.downloads.Formats = thief{own}
	f.do("", "GET", "/downloads/"+issued.Token.Reveal(), "").problem(502, engine.CodeRendererFailed)
	f.downloads.Formats = own
	f.do("", "GET", "/downloads/"+issued.Token.Reveal(), "").is(200)
}
