package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/countersign-dev/countersign/engine"
)

// CertificatePolicy implements [engine.Policies]. A newest version that is not what its
// columns say is an error: neither it nor the default may decide.
func (s *Store) CertificatePolicy(ctx context.Context, projectID string) (engine.CertificatePolicy, error) {
	found, err := scan(ctx, s.reading, policies.read, policies.selection()+" WHERE project_id = ? ORDER BY version DESC LIMIT 1", projectID)
	if err != nil {
		return engine.CertificatePolicy{}, err
	}
	if len(found) == 0 {
		return engine.DefaultPolicy(projectID), nil
	}
	if problem := policies.problem(found[0]); problem != "" {
		return engine.CertificatePolicy{}, fmt.Errorf("read policy %s: %s", policies.idOf(found[0]), problem)
	}
	var p engine.CertificatePolicy
	return p, json.Unmarshal([]byte(found[0].doc), &p)
}

// AddPolicy implements [engine.Policies].
func (s *Store) AddPolicy(ctx context.Context, p engine.CertificatePolicy, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		inserted, err := policies.insert(tx, p)
		if err == nil && !inserted {
			return engine.CodeConflict
		}
		return err
	})
}
