package api

import (
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// Paging is the part of every listing's query.
type Paging struct {
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"200" doc:"Maximum number of items"`
	Cursor string `query:"cursor" maxLength:"1000" doc:"next_cursor of the page before"`
}

func (p Paging) page() engine.Page { return engine.Page{Limit: p.Limit, Cursor: p.Cursor} }

// listing is the answer of a collection.
type listing[T any] struct {
	Body wire.Page[T]
}

// listed makes the answer of a page of a store's listing.
func listed[From, To any](items []From, next string, to func(From) To) *listing[To] {
	out := &listing[To]{Body: wire.Page[To]{Items: make([]To, 0, len(items))}}
	for _, item := range items {
		out.Body.Items = append(out.Body.Items, to(item))
	}
	if next != "" {
		out.Body.NextCursor = &next
	}
	return out
}

// paged takes a page out of a list that is kept in memory, sorted by name.
func paged[From, To any](all []From, p Paging, name func(From) string, to func(From) To) (*listing[To], error) {
	at, started, err := p.page().Position()
	if err != nil {
		return nil, err
	}
	items := []From{}
	for _, item := range all {
		switch {
		case started && name(item) <= at.ID:
		case len(items) == p.Limit:
			next := engine.Cursor{ID: name(items[len(items)-1])}.String()
			return listed(items, next, to), nil
		default:
			items = append(items, item)
		}
	}
	return listed(items, "", to), nil
}
