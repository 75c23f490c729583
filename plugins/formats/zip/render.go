package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// epoch is the date of every entry, the earliest that the MS-DOS format can
// represent. A fixed date and sorted names give the same archive for the same files.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// render writes each file of the job as an entry that only its owner can read after
// unpacking. It does not compress: the files are a few kilobytes and mostly encoded
// or encrypted.
func render(job sdk.Job) ([]byte, error) {
	if len(job.Files) == 0 {
		return nil, errors.New("the job has no files to archive")
	}
	var file bytes.Buffer
	archive := zip.NewWriter(&file)
	for _, name := range slices.Sorted(maps.Keys(job.Files)) {
		header := &zip.FileHeader{Name: name, Method: zip.Store, Modified: epoch}
		header.SetMode(0o600)
		entry, err := archive.CreateHeader(header)
		if err != nil {
			return nil, fmt.Errorf("start entry %s: %w", name, err)
		}
		if _, err := entry.Write(job.Files[name]); err != nil {
			return nil, fmt.Errorf("write entry %s: %w", name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("close archive: %w", err)
	}
	return file.Bytes(), nil
}
