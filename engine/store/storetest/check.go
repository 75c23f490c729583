package storetest

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// ok ends the test on an error.
func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// get returns the result of a call and ends the test on an error.
func get[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		ok(t, err)
		return value
	}
}

// refused checks that an error is the given one.
func refused(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// same compares the JSON of two documents. A store may return an empty list as none.
func same(t *testing.T, got, want any) {
	t.Helper()
	if g, w := plain(t, got), plain(t, want); !reflect.DeepEqual(g, w) {
		t.Fatalf("got  %v\nwant %v", g, w)
	}
}

func plain(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	ok(t, err)
	var tree any
	ok(t, json.Unmarshal(text, &tree))
	return withoutEmpty(tree)
}

func withoutEmpty(tree any) any {
	switch node := tree.(type) {
	case map[string]any:
		kept := map[string]any{}
		for name, value := range node {
			if value = withoutEmpty(value); value != nil {
				kept[name] = value
			}
		}
		if len(kept) == 0 {
			return nil
		}
		return kept
	case []any:
		if len(node) == 0 {
			return nil
		}
		for i := range node {
			node[i] = withoutEmpty(node[i])
		}
	}
	return tree
}

// together runs f for 0 to n-1 at the same time and returns their results.
func together[T any](n int, f func(i int) T) []T {
	results, start := make([]T, n), make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-start
			results[i] = f(i)
		})
	}
	close(start)
	running.Wait()
	return results
}

// lister reads one page of a listing.
type lister[T any] func(page engine.Page) ([]T, string, error)

// walk reads a listing to its end in pages of the given size.
func walk[T any](t *testing.T, list lister[T], size int) []T {
	t.Helper()
	var all []T
	page := engine.Page{Limit: size}
	for {
		items, next, err := list(page)
		ok(t, err)
		if len(items) > size || next != "" && len(items) == 0 {
			t.Fatalf("a page of %d items, limit %d, next %q", len(items), size, next)
		}
		all = append(all, items...)
		if next == "" {
			return all
		}
		if next == page.Cursor {
			t.Fatalf("the cursor %q leads to itself", next)
		}
		page.Cursor = next
	}
}

// lists checks that a listing returns exactly want, in this order, for several page
// sizes, and that it refuses a cursor that it did not return.
func lists[T any](t *testing.T, list lister[T], want []T) {
	t.Helper()
	for _, size := range []int{1, 2, max(1, len(want)), len(want) + 1} {
		same(t, walk(t, list, size), want)
	}
	for _, foreign := range []string{"no cursor!", "bm8gY3Vyc29y", "\x00"} {
		_, _, err := list(engine.Page{Limit: 1, Cursor: foreign})
		if !errors.Is(err, engine.CodeInvalidRequest) {
			t.Fatalf("the cursor %q gave %v, want %s", foreign, err, engine.CodeInvalidRequest)
		}
	}
}

// only restricts a listing to some of its items, for listings that span projects. It
// reads on until a page is not empty.
func only[T any](list lister[T], keep func(T) bool) lister[T] {
	return func(page engine.Page) ([]T, string, error) {
		for {
			items, next, err := list(page)
			if err != nil {
				return nil, "", err
			}
			items = slices.DeleteFunc(items, func(item T) bool { return !keep(item) })
			if len(items) > 0 || next == "" {
				return items, next, nil
			}
			page.Cursor = next
		}
	}
}

// newestFirst sorts as every listing by time does: by time, then by id, both
// descending.
func newestFirst[T any](items []T, at func(T) engine.Cursor) []T {
	sorted := slices.Clone(items)
	slices.SortFunc(sorted, func(a, b T) int {
		x, y := at(a), at(b)
		if c := y.Time.Compare(x.Time); c != 0 {
			return c
		}
		if x.ID < y.ID {
			return 1
		}
		return -1
	})
	return sorted
}
