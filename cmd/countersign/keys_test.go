package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// keepersOf runs "countersign keys status", and returns its lines by keeper.
func keepersOf(t *testing.T, args ...string) map[string]keeperLine {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary(t), append([]string{"keys", "status", "-o", "json"}, args...)...).Output()
	noError(t, err)
	var lines []keeperLine
	noError(t, json.Unmarshal(out, &lines))
	by := map[string]keeperLine{}
	for _, l := range lines {
		by[l.Keeper] = l
	}
	return by
}

// The local key file is replaced while callers are served: everything is wrapped by the new
// one afterwards, and the old one can be deleted. A run that was killed is repeated.
func TestTheKeeperIsReplacedWhileCallersAreServed(t *testing.T) {
	for _, c := range []struct {
		store, killedAt string
		done            int // secrets that are wrapped anew when the command is killed
	}{{"SQLite", "rewrapped", 1}, {"MongoDB", "rewrapping-recorded", 0}} {
		t.Run(c.store, func(t *testing.T) {
			t.Parallel()
			uri := ""
			if c.store == "MongoDB" {
				uri = mongoURI(t)
			}
			replacesTheKeeper(t, uri, c.killedAt, c.done)
		})
	}
}

func replacesTheKeeper(t *testing.T, uri, killedAt string, done int) {
	base := t.TempDir()
	data, next := filepath.Join(base, "data"), filepath.Join(base, "next.key")
	old := filepath.Join(data, "keys", "local.key")
	inMongoDB := "COUNTERSIGN_MONGODB_URI=" + uri
	s := startSmall(t, binary(t), data, inMongoDB)
	s.allow(true)
	s.must(http.StatusCreated, nil, "admin", http.MethodPost, s.project()+"/notification-targets",
		`{"name":"chat","url":"https://hooks.example.com/secret","events":["approval.requested"]}`)
	out := run(t, nil, binary(t), "keys", "rotate", next, "--data", data)
	if !strings.Contains(out, next) || !strings.Contains(out, "keyfile://"+old) {
		t.Errorf("rotate says %s", out)
	}
	refusesToRun(t, "exists", "keys", "rotate", next, "--data", data)
	before := keepersOf(t, "--data", data, "--mongodb-uri", uri)
	if len(before) != 1 {
		t.Fatalf("keepers before: %v", before)
	}
	oldID := slices.Collect(maps.Keys(before))[0]
	wrapped := before[oldID].Total()
	both := []string{"--data", data, "--mongodb-uri", uri, "--keeper-file", next, "--keeper-previous", "keyfile://" + old}
	rewrap := append([]string{"keys", "rewrap"}, both...)
	if uri != "" {
		refusesToRun(t, "wraps new secrets by another keeper", rewrap...)
	}
	s.stop()

	s = startSmall(t, binary(t), data, inMongoDB, "COUNTERSIGN_KEEPER_FILE="+next, "COUNTERSIGN_KEEPER_PREVIOUS=keyfile://"+old)
	s.keyFile, s.mongoURI = next, uri
	if l := keepersOf(t, both...)[oldID]; !l.Needed || l.Total() != wrapped || wrapped < 5 {
		t.Errorf("the old keeper before: %+v", l)
	}
	refusesToRun(t, "is needed, and is not configured", "keys", "status", "--data", data, "--mongodb-uri", uri, "--keeper-file", next, "--keeper-previous", "")
	var callers sync.WaitGroup
	stop := make(chan struct{})
	callers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.once("a key", s.mint(0, "key").Token)
			}
		}
	})
	if killed, err := killedRun(t, killedAt, rewrap...); !killed {
		t.Fatalf("it was not killed: %v", err)
	}
	if l := keepersOf(t, both...)[oldID]; !l.Needed || l.Total() != wrapped-done {
		t.Errorf("the old keeper after a run that was killed: %+v, want %d secrets", l, wrapped-done)
	}
	run(t, nil, binary(t), rewrap...)
	close(stop)
	callers.Wait()
	if l := keepersOf(t, both...)[oldID]; l.Needed || l.Total() != 0 || l.UnusedSince == nil || !l.Configured {
		t.Errorf("the old keeper after: %+v", l)
	}
	s.auditOK()
	s.stop()
	noError(t, os.Remove(old))
	s = startSmall(t, binary(t), data, inMongoDB, "COUNTERSIGN_KEEPER_FILE="+next)
	s.once("a key", s.mint(0, "key").Token)
	s.keyFile, s.mongoURI = next, uri
	s.agreed()
}
