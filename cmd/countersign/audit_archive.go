package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// archivedFile is an archive of audit entries in a file.
type archivedFile struct {
	path string
	engine.Archived
	proven bool
}

// proof is what an entry says of the part of a chain that was deleted by it.
type proof struct {
	through      int64
	hash, sha256 string
}

func proofOf(detail map[string]string) proof {
	through, _ := strconv.ParseInt(detail["through"], 10, 64)
	return proof{through, detail["hash"], detail["sha256"]}
}

// proveArchives checks that the files are what was archived before it was deleted from the
// chain. The SHA-256 of each must be in an entry of the part of the chain that the server
// has verified, or in one of another file that is proven. It returns a row for each.
func (s *session) proveArchives(ctx context.Context, v wire.AuditVerdict, paths []string) (rows [][]string, err error) {
	proofs := map[proof]bool{}
	cuts, err := readPages(maxProofs, func(at client.Paging) (wire.Page[wire.AuditEntry], error) {
		return s.AuditLogs(ctx, s.project, client.AuditQuery{Action: engine.ActionAuditPurged, Paging: at})
	})
	if err != nil {
		return nil, err
	}
	for _, e := range cuts.Items {
		if v.BeginsAt <= e.Seq && e.Seq <= v.Head.Seq {
			proofs[proofOf(e.Detail)] = true
		}
	}
	files := make([]*archivedFile, len(paths))
	for i, path := range paths {
		if files[i], err = readArchivedFile(path); err != nil {
			return nil, err
		}
	}
	for found := true; found; {
		found = false
		for _, f := range files {
			if f.proven || !proofs[proof{f.Last.Seq, f.Last.Hash, f.SHA256}] {
				continue
			}
			f.proven, found = true, true
			for _, e := range f.Cuts {
				proofs[proofOf(e.Detail)] = true
			}
		}
	}
	var failed []error
	for _, f := range files {
		said := fmt.Sprintf("entries %d to %d of %s, as they were deleted", f.First, f.Last.Seq, f.Chain)
		if !f.proven {
			said = "not proven"
			failed = append(failed, fmt.Errorf("no entry of the chain, nor of another file that is proven, has the SHA-256 of %s: "+
				"it was changed, belongs to another chain, or needs the later archives beside it", f.path))
		}
		rows = append(rows, []string{f.path, said})
	}
	return rows, errors.Join(failed...)
}

// maxProofs is how many entries of cuts are read: one a day.
const maxProofs = 100_000

func readArchivedFile(path string) (f *archivedFile, err error) {
	in, err := os.Open(path) //nolint:gosec // the caller names the file
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	f = &archivedFile{path: path}
	if f.Archived, err = engine.ReadArchived(in); err != nil {
		return nil, fmt.Errorf("%s is no whole archive: %w", path, err)
	}
	return f, nil
}

// verifyArchives shows the verdict of the chain with what the archives are proven to be. A
// chain that does not agree with the database proves nothing.
func (s *session) verifyArchives(ctx context.Context, v wire.AuditVerdict, paths []string) error {
	if !v.OK || len(paths) == 0 {
		return s.showAuditVerdict(v, nil)
	}
	rows, err := s.proveArchives(ctx, v, paths)
	return errors.Join(s.showAuditVerdict(v, rows), err)
}
