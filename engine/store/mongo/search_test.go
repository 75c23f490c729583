package mongo_test

import (
	"context"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/event"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
)

// A database of schema version 1 gets the grams when it is opened, once, and the search
// finds its certificates.
func TestOlderCertificatesAreFound(t *testing.T) {
	onEveryServer(t, func(t *testing.T, server server) {
		uri, raw := server.database(t)
		ctx, s := t.Context(), open(t, uri)
		noError(t, s.UseAuditKey(ctx, []byte("key")))
		for _, name := range []string{"shop.example.com", "mail.example.com"} {
			c := engine.Certificate{ID: engine.NewID("cert"), ProjectID: "prj", Name: name}
			rec := engine.Record{Audit: engine.AuditEntry{Ref: c.ID, ProjectID: "prj"}}
			noError(t, s.CreateCertificate(ctx, c, nil, rec))
		}
		_, err := raw.Collection("certificates").UpdateMany(ctx, bson.D{}, bson.D{{Key: "$unset", Value: bson.D{{Key: "grams", Value: ""}}}})
		noError(t, err)
		_, err = raw.Collection("schema").UpdateOne(ctx, bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: 1}}}})
		noError(t, err)
		if wrong, err := s.Misplaced(ctx, "prj"); err != nil || len(wrong) != 2 {
			t.Errorf("without grams %v is misplaced, %v", wrong, err)
		}
		s = open(t, uri)
		if found, _, err := s.Certificates(ctx, "prj", "shop", engine.Page{Limit: 9}); err != nil || len(found) != 1 || found[0].Name != "shop.example.com" {
			t.Errorf("found %+v, %v", found, err)
		}
		if wrong, err := s.Misplaced(ctx, "prj"); err != nil || len(wrong) != 0 {
			t.Errorf("%v is misplaced, %v", wrong, err)
		}
		var stored struct{ Version int }
		if err := raw.Collection("schema").FindOne(ctx, bson.D{}).Decode(&stored); err != nil || stored.Version != 2 {
			t.Errorf("the schema has version %d, %v", stored.Version, err)
		}
	})
}

// A search asks for grams, which an index has, those that few certificates have first.
// Only words that are shorter than a gram are compared with every text.
func TestSearchesAskForGrams(t *testing.T) {
	uri, _ := servers[0].database(t)
	var asked bson.Raw
	s, err := mongo.OpenMonitored(t.Context(), uri, mongo.Credential{}, &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if e.CommandName == "find" && e.Command.Lookup("find").StringValue() == "certificates" {
			asked = e.Command
		}
	}})
	noError(t, err)
	t.Cleanup(func() { noError(t, s.Close()) })
	for query, first := range map[string]string{"zzz.com": "z.c", "shop": "hop", ".com mail": "ail", ".com": ".co", "ab": ""} {
		if _, _, err := s.Certificates(t.Context(), "prj", query, engine.Page{Limit: 9}); err != nil {
			t.Fatal(err)
		}
		var grams []string
		if all, ok := asked.Lookup("filter", "grams", "$all").ArrayOK(); ok {
			values, err := all.Values()
			noError(t, err)
			for _, v := range values {
				n := v.Int32()
				grams = append(grams, string([]byte{byte(n >> 16), byte(n >> 8), byte(n)}))
			}
		}
		if got := strings.Join(grams, " "); !strings.HasPrefix(got, first) || (first == "") != (got == "") {
			t.Errorf("%q asks for %q, want %q first", query, got, first)
		}
	}
}
