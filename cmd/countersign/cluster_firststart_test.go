//go:build cluster

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// first is a server's first start on a store that others share.
func first(t *testing.T, program, base, name, uri string, more ...string) (*server, string) {
	t.Helper()
	file := filepath.Join(base, name+".json")
	cmd := exec.Command(program, append([]string{
		"serve", "--data", filepath.Join(base, name), "--keeper-file", filepath.Join(base, "shared.key"),
		"--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file,
	}, more...)...)
	s := launch(t, cmd, filepath.Join(base, name+".d", "data"), "COUNTERSIGN_MONGODB_URI="+uri)
	t.Cleanup(s.kill)
	return s, file
}

// Of servers that make their first start on one store at the same moment, one makes the
// administrator and the project, and says where the bootstrap file is.
func TestClusterFirstStartsAtOnceMakeOneAdministrator(t *testing.T) {
	wholeOnly(t)
	program, base, c := binary(t), t.TempDir(), newCluster(t, 1)
	noError(t, os.WriteFile(filepath.Join(base, "shared.key"), []byte(strings.Repeat("A", 43)+"=\n"), 0o600))
	servers, files := []*server{}, []string{}
	for i := range 3 {
		noError(t, os.Mkdir(filepath.Join(base, fmt.Sprintf("n%d.d", i)), 0o700))
		s, file := first(t, program, base, fmt.Sprintf("n%d", i), c.uri, "--temporal-address", c.engines.temporalAddress, "--temporal-namespace", c.namespace)
		servers, files = append(servers, s), append(files, file)
	}
	elsewhere, serving := 0, regexp.MustCompile(`msg=serving url=(\S+)`)
	for _, s := range servers {
		eventually(t, "a server that serves", func() bool {
			s.failIfEnded()
			text, err := os.ReadFile(s.log.Name())
			noError(t, err)
			address := serving.FindSubmatch(text)
			if address == nil {
				return false
			}
			s.url = string(address[1])
			elsewhere += strings.Count(string(text), "another server made the first administrator")
			return true
		})
	}
	var written []bootstrapFile
	for _, file := range files {
		if b, err := readBootstrap(file); err == nil && b != nil {
			written = append(written, *b)
		}
	}
	if len(written) != 1 {
		t.Fatalf("%d bootstrap files, and %d servers that name another's", len(written), elsewhere)
	}
	client, err := driver.Connect(t.Context(), options.Client().ApplyURI(c.uri))
	noError(t, err)
	defer func() { noError(t, client.Disconnect(context.Background())) }()
	for collection, want := range map[string]int64{"users": 1, "projects": 1, "api_keys": 2} {
		if n, err := client.Database(c.namespace).Collection(collection).CountDocuments(t.Context(), bson.D{}); err != nil || n != want {
			t.Errorf("%s: %d, %v, want %d", collection, n, err, want)
		}
	}
	for _, s := range servers {
		s.boot = written[0]
		s.must(http.StatusOK, nil, "admin", "GET", s.project()+"/members", "")
	}
}
