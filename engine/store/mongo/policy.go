package mongo

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// policyDocument is a version of a policy under project/version, so that only one
// caller can insert that version.
type policyDocument struct {
	ID                       string `json:"id"`
	engine.CertificatePolicy `bson:",inline"`
}

func newPolicyDocument(p engine.CertificatePolicy) policyDocument {
	return policyDocument{ID: p.ProjectID + "/" + strconv.Itoa(p.Version), CertificatePolicy: p}
}

// CertificatePolicy implements engine.Policies. A newest version that is stored under
// another id than its own is an error: neither it nor the default may decide.
func (s *Store) CertificatePolicy(ctx context.Context, projectID string) (engine.CertificatePolicy, error) {
	newest := options.FindOne().SetSort(bson.D{{Key: "version", Value: -1}})
	doc, err := find[policyDocument](ctx, s.db.Collection(policiesName), bson.D{{Key: "project_id", Value: projectID}}, newest)
	switch {
	case errors.Is(err, engine.CodeNotFound):
		return engine.DefaultPolicy(projectID), nil
	case err != nil:
		return engine.CertificatePolicy{}, err
	case doc.misplaced() != "":
		return engine.CertificatePolicy{}, fmt.Errorf("read policy %s: the document differs from its %s", doc.ID, doc.misplaced())
	}
	return doc.CertificatePolicy, nil
}

// AddPolicy implements engine.Policies.
func (s *Store) AddPolicy(ctx context.Context, p engine.CertificatePolicy, rec engine.Record) error {
	err := s.create(ctx, s.db.Collection(policiesName), newPolicyDocument(p), rec)
	if errors.Is(err, engine.CodeExists) {
		return engine.CodeConflict
	}
	return err
}
