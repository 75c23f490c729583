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

// epoch dates every entry: the first instant that MS-DOS times can tell. With
// it and the sorted names, the same files make the same archive.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// render writes the handed-over files as entries that unpack readable to their
// owner alone. They are stored as they are: encrypted and encoded bytes of a few
// kilobytes gain nothing from compression.
func render(job sdk.Job) ([]byte, error) {
	if len(job.Files) == 0 {
		return nil, errors.New("there is no file to archive")
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
