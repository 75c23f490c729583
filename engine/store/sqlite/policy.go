package sqlite

import (
	"context"
	"errors"

	"github.com/countersign-dev/countersign/engine"
)

// CertificatePolicy implements [engine.Policies].
func (s *Store) CertificatePolicy(ctx context.Context, projectID string) (engine.CertificatePolicy, error) {
	p, err := get[engine.CertificatePolicy](ctx, s.reading, "certificate_policies WHERE project_id = ? ORDER BY version DESC", projectID)
	if errors.Is(err, engine.CodeNotFound) {
		return engine.DefaultPolicy(projectID), nil
	}
	return p, err
}

// AddPolicy implements [engine.Policies].
func (s *Store) AddPolicy(ctx context.Context, p engine.CertificatePolicy, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		inserted, err := tx.insert("certificate_policies", "project_id, version", p, p.ProjectID, p.Version)
		if err == nil && !inserted {
			return engine.CodeConflict
		}
		return err
	})
}
