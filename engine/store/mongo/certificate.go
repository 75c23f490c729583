package mongo

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// certificateDocument is a certificate with the text in which it is searched for, and
// the text's grams.
type certificateDocument struct {
	engine.Certificate `bson:",inline"`
	SearchText         string  `json:"search_text"`
	Grams              []int32 `json:"grams"`
}

func newCertificateDocument(c engine.Certificate) certificateDocument {
	text := strings.ToValidUTF8(c.SearchText(), "\ufffd") // as it is stored
	return certificateDocument{Certificate: c, SearchText: text, Grams: engine.SearchGrams(text)}
}

// keyDocument is a sealed key under the id of its certificate, or a data key under
// its own.
type keyDocument struct {
	ID               string `json:"id"`
	engine.SealedKey `bson:",inline"`
}

// CreateCertificate implements engine.Certificates. It writes the key first, so
// that a certificate never appears without its key. A key whose certificate is
// missing after a crash cannot be reached by anybody.
func (s *Store) CreateCertificate(ctx context.Context, cert engine.Certificate, key *engine.SealedKey, rec engine.Record) error {
	return s.change(rec, func() (bool, error) {
		c := s.db.Collection(certificatesName)
		doc := newCertificateDocument(cert)
		if err := absentOrSame(ctx, c, cert.ID, doc); err != nil {
			return false, err
		}
		if key != nil {
			if _, err := s.insertSame(ctx, s.db.Collection(certificateKeysName), keyDocument{cert.ID, *key}); err != nil {
				return false, err
			}
		}
		fresh, err := s.insertSame(ctx, c, doc)
		if err != nil {
			return false, err
		}
		return s.completeRecord(ctx, rec, fresh)
	})
}

// absentOrSame returns engine.CodeExists if another document has the id. The same
// document, from an earlier try, is no error.
func absentOrSame(ctx context.Context, c *driver.Collection, id string, doc any) error {
	stored, err := findRaw(ctx, c, byID(id))
	switch {
	case errors.Is(err, engine.CodeNotFound):
		return nil
	case err != nil:
		return err
	}
	return sameOrExists(stored, doc)
}

// Certificate implements engine.Certificates.
func (s *Store) Certificate(ctx context.Context, projectID, id string) (engine.Certificate, error) {
	return find[engine.Certificate](ctx, s.db.Collection(certificatesName), bson.D{{Key: "_id", Value: id}, {Key: "project_id", Value: projectID}},
		options.FindOne().SetProjection(searchMembers))
}

// Certificates implements engine.Certificates. It searches by grams, and compares by
// regular expressions in which every character is quoted.
func (s *Store) Certificates(ctx context.Context, projectID, query string, page engine.Page) ([]engine.Certificate, string, error) {
	filter := bson.D{{Key: "project_id", Value: projectID}}
	if words := strings.Fields(query); len(words) > 0 {
		filter = append(filter, searched(words)...)
	}
	if !utf8.ValidString(query) || strings.Contains(query, "\x00") {
		// The server refuses such a pattern, and no text can match it.
		_, _, err := page.Position()
		return []engine.Certificate{}, "", err
	}
	return list(ctx, s.db.Collection(certificatesName), filter, page, "created_at", func(c engine.Certificate) engine.Cursor {
		return engine.Cursor{Time: c.CreatedAt, ID: c.ID}
	}, searchMembers...)
}

// SealedKey implements engine.Certificates.
func (s *Store) SealedKey(ctx context.Context, certificateID string) (engine.SealedKey, error) {
	doc, err := find[keyDocument](ctx, s.db.Collection(certificateKeysName), byID(certificateID))
	return doc.SealedKey, err
}

// Events implements engine.Certificates.
func (s *Store) Events(ctx context.Context, q engine.EventQuery) ([]engine.Event, string, error) {
	filter := bson.D{{Key: "project_id", Value: q.ProjectID}, {Key: "certificate_id", Value: q.CertificateID}}
	if q.RequestID != "" {
		filter = append(filter, bson.E{Key: "request_id", Value: q.RequestID})
	}
	return list(ctx, s.db.Collection(eventsName), filter, q.Page, "time", func(e engine.Event) engine.Cursor {
		return engine.Cursor{Time: e.Time, ID: e.ID}
	})
}

// PurgeEvents implements engine.Certificates.
func (s *Store) PurgeEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.end()
	c := s.db.Collection(eventsName)
	docs, err := findAll[engine.Event](ctx, c, bson.D{{Key: "time", Value: bson.D{{Key: "$lt", Value: before}}}},
		options.Find().SetSort(bson.D{{Key: "time", Value: 1}}).SetLimit(int64(limit)).SetProjection(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return 0, err
	}
	ids := make([]string, 0, len(docs))
	for _, d := range docs {
		ids = append(ids, d.ID)
	}
	return deleteByID(ctx, c, ids)
}

// CountCertificates implements engine.Certificates.
func (s *Store) CountCertificates(ctx context.Context, from, until time.Time, limit int) (int, error) {
	within := bson.D{{Key: "not_after", Value: bson.D{{Key: "$gte", Value: from}, {Key: "$lt", Value: until}}}}
	n, err := s.db.Collection(certificatesName).CountDocuments(ctx, within, options.Count().SetLimit(int64(limit)))
	if err != nil {
		return 0, fault("count certificates", err)
	}
	return int(n), nil
}
