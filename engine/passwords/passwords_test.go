package passwords_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/passwords"
)

func TestPasswords(t *testing.T) {
	standard, err := (&passwords.Passwords{}).Hash(t.Context(), "correct horse")
	if err != nil || !strings.HasPrefix(standard, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Fatalf("%q: %v", standard, err)
	}
	p := passwords.Passwords{MemoryKiB: 4 << 10}
	hash, err := p.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.Hash(t.Context(), "correct horse")
	if err != nil || again == hash {
		t.Errorf("one password gives the same hash twice: %q (%v)", hash, err)
	}
	for _, c := range []struct {
		hash     string
		password engine.Secret
		want     bool
	}{
		{hash, "correct horse", true}, {hash, "correct horse ", false}, {hash, "", false}, {"", "", false}, {"", "correct horse", false},
	} {
		if got, err := p.Matches(t.Context(), c.hash, c.password); got != c.want || err != nil {
			t.Errorf("%q matches %q: %v (%v)", c.password.Reveal(), c.hash, got, err)
		}
	}
	if ok, err := p.Matches(t.Context(), "md5:123", "x"); ok || err == nil {
		t.Errorf("not a hash: %v, %v", ok, err)
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	p := passwords.Passwords{MemoryKiB: 4 << 10}
	ctx, stop := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	ended := make(chan error, 64)
	for range cap(ended) {
		calls.Go(func() {
			_, err := p.Matches(ctx, "", "x")
			ended <- err
		})
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	stop()
	calls.Wait()
	close(ended)
	waited := 0
	for err := range ended {
		if errors.Is(err, context.Canceled) && errors.Is(err, engine.CodeUnavailable) {
			waited++
		}
	}
	if waited == 0 {
		t.Error("64 passwords were compared at once")
	}
}
