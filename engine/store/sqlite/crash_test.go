package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"os"
	process "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// crashStore is the environment variable that names the store on which a child of
// this test works until it is killed.
const crashStore = "COUNTERSIGN_TEST_CRASH_STORE"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashStore); path != "" {
		fmt.Println(settleUntilKilled(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// settleUntilKilled issues and settles tokens and prints the digest and the attempt
// of each.
func settleUntilKilled(path string) error {
	ctx := context.Background()
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	failed, out := make(chan error), sync.Mutex{}
	for range 8 {
		go func() {
			for {
				token := newToken("prj")
				_, err := s.OpenRequest(ctx, opening("prj", &token))
				if err != nil {
					failed <- err
				}
				mine := engine.Settlement{Digest: token.Digest, Attempt: engine.NewID("try"), Kind: engine.Consumed, Time: engine.SystemClock()}
				rec := newRecord("prj")
				rec.Audit.Ref = mine.Attempt
				if _, won, err := s.Settle(ctx, mine, rec); err != nil || !won {
					failed <- fmt.Errorf("won %v: %w", won, err)
				}
				out.Lock()
				fmt.Println(mine.Digest, mine.Attempt)
				out.Unlock()
			}
		}()
	}
	return <-failed
}

// Every write that was acknowledged before kill -9 is stored, with its record.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countersign.db")
	acknowledged := map[string]bool{}
	for round := 1; round <= 2; round++ {
		settled := killed(t, path, 200)
		s, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		for digest, attempt := range settled {
			token, err := s.Token(t.Context(), digest)
			if err != nil || token.Settlement == nil || token.Settlement.Attempt != attempt {
				t.Fatalf("round %d: token %+v, %v", round, token, err)
			}
			acknowledged[attempt] = true
		}
		unrecorded := map[string]bool{}
		for attempt := range acknowledged {
			unrecorded[attempt] = true
		}
		checkRefs(t, s, unrecorded)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killed runs a child on the store, kills it while it works, and returns the
// acknowledged attempts by digest.
func killed(t *testing.T, path string, after int) map[string]string {
	t.Helper()
	child := process.Command(os.Args[0])
	child.Env, child.Stderr = append(os.Environ(), crashStore+"="+path), os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	settled, lines := map[string]string{}, bufio.NewScanner(out)
	for lines.Scan() {
		digest, attempt, ok := strings.Cut(lines.Text(), " ")
		if len(digest) != 64 || !ok || len(attempt) != len(engine.NewID("try")) {
			break // the last line, cut off, or an error
		}
		settled[digest] = attempt
		if len(settled) == after {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil || len(settled) < after {
		t.Fatalf("the child ended with %v after %d settlements", err, len(settled))
	}
	return settled
}
