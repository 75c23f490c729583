package main

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// usage is what a server uses at a moment; sizes are in bytes.
type usage struct {
	at              time.Time
	entries         int   // of the audit log of every project
	databases, logs int64 // the store's pages and Temporal's files, and their write-ahead logs
	resident, peak  int64 // of the process alone, without its plugins
}

func writeRow(out io.Writer, cells ...any) {
	for _, cell := range cells {
		_, _ = fmt.Fprint(out, cell, "\t") // to a buffer
	}
	_, _ = fmt.Fprintln(out)
}

// writeSteps writes a flood's row: its figures before, halfway and after.
func writeSteps(out io.Writer, name string, got answers, steps ...usage) {
	calls := 0
	for _, n := range got {
		calls += n
	}
	column := func(figure func(usage) int64) string {
		parts := make([]string, 0, len(steps))
		for _, u := range steps {
			parts = append(parts, strconv.FormatInt(figure(u), 10))
		}
		return strings.Join(parts, " → ")
	}
	writeRow(out, name, calls, int(steps[len(steps)-1].at.Sub(steps[0].at).Seconds()), got,
		column(func(u usage) int64 { return int64(u.entries) }), column(func(u usage) int64 { return u.databases >> 10 }),
		column(func(u usage) int64 { return u.logs >> 10 }), column(func(u usage) int64 { return u.resident >> 20 }),
		column(func(u usage) int64 { return u.peak >> 20 }))
}

func (f *flooded) usage() usage {
	f.t.Helper()
	f.failIfEnded()
	u := usage{at: time.Now(), entries: f.number("SELECT count(*) FROM audit_logs")}
	noError(f.t, filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == "countersign.db":
			u.databases += int64(f.number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"))
		case strings.HasSuffix(path, ".db"): // Temporal's, which only its own process can open
			u.databases += size(f.t, d)
		case strings.HasSuffix(path, ".db-wal"):
			u.logs += size(f.t, d)
		}
		return nil
	}))
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.cmd.Process.Pid))
	noError(f.t, err)
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			u.resident = kib << 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			u.peak = kib << 10
		}
	}
	return u
}

// refusalsOnRecord are the entries of refusals, and the refusals that they stand for.
func (f *flooded) refusalsOnRecord(action, code string) (entries, stood int) {
	f.t.Helper()
	const where = " FROM audit_logs WHERE action = ? AND doc ->> '$.detail.code' = ?"
	return f.number("SELECT count(*)"+where, action, code),
		f.number("SELECT count(*) + coalesce(sum(doc ->> '$.detail.left_out_before'), 0)"+where, action, code)
}

// number reads a number from the store's database, which the server may be using.
func (f *flooded) number(query string, args ...any) (n int) {
	f.t.Helper()
	name := url.URL{Scheme: "file", Path: filepath.Join(f.dir, "db", "countersign.db"), RawQuery: "_pragma=query_only(1)&_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", name.String())
	noError(f.t, err)
	defer func() { noError(f.t, db.Close()) }()
	noError(f.t, db.QueryRowContext(f.t.Context(), query, args...).Scan(&n))
	return n
}

func size(t *testing.T, d fs.DirEntry) int64 {
	t.Helper()
	info, err := d.Info()
	noError(t, err)
	return info.Size()
}

// hold are the floods of what lasts: connections, streams and costly files. Each is
// refused above its limit, and the memory is that of the limit.
func (f *flooded) hold(out io.Writer) {
	for _, h := range []struct {
		name string
		hold func() (answers, usage)
		want func(answers) bool
	}{
		{"silent connections of an address", f.connections, func(a answers) bool { return a[200] <= connectionsOfAnAddress && a[0] > 0 }},
		{"streams of a person", f.streams, func(a answers) bool { return a[200] == 16 && a[429] > 0 && len(a) == 2 }},
		{"costly PKCS#12 files of a person", f.imports, func(a answers) bool { return a[422] > 0 && a[429] > 0 && len(a) == 2 }},
	} {
		before := f.usage()
		got, during := h.hold()
		after := f.usage()
		if !h.want(got) {
			f.t.Errorf("%s: answers %v", h.name, got)
		}
		if by := after.entries - before.entries; by > spareEntries {
			f.t.Errorf("%s: %d audit entries", h.name, by)
		}
		if by := max(during.resident, after.resident) - before.resident; by > spareMemory {
			f.t.Errorf("%s: %d bytes more are in use", h.name, by)
		}
		writeSteps(out, h.name, got, before, during, after)
	}
}

// connections opens silent connections. An answer of 200 stands for one that stays
// open, 0 for one that the server closed. Meanwhile other addresses are served.
func (f *flooded) connections() (answers, usage) {
	httpClient.CloseIdleConnections()
	got := answers{}
	var open []net.Conn
	for range 3000 {
		c, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		noError(f.t, err)
		open = append(open, c)
	}
	during := f.usage()
	if status := f.from(1, http.MethodGet, "/readyz", ""); status != http.StatusOK {
		f.t.Errorf("another address is answered with %d meanwhile", status)
	}
	for _, c := range open {
		noError(f.t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		if _, err := c.Read(make([]byte, 1)); os.IsTimeout(err) {
			got[200]++
		} else {
			got[0]++
		}
	}
	for _, c := range open {
		noError(f.t, c.Close())
	}
	eventually(f.t, "an answer to an address that had too many connections", func() bool {
		return f.as("viewer", http.MethodGet, "/api/v1/me", "") == http.StatusOK
	})
	return got, during
}

// streams opens more streams than a person may have, through the proxy: its
// connections are not limited.
func (f *flooded) streams() (answers, usage) {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel() // ends the streams
	got := answers{}
	for range 1000 {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+f.project()+"/stream", nil)
		noError(f.t, err)
		request.Header.Set("Authorization", "Bearer "+f.key("viewer"))
		answer, err := f.proxied.Do(request)
		noError(f.t, err)
		defer answer.Body.Close()
		got[answer.StatusCode]++
	}
	return got, f.usage()
}

// imports sends files side by side that take long to decrypt, with a wrong passphrase.
func (f *flooded) imports() (answers, usage) {
	folder := f.t.TempDir()
	key, certificate, file := filepath.Join(folder, "key"), filepath.Join(folder, "cert"), filepath.Join(folder, "file")
	run(f.t, nil, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=flood", "-keyout", key, "-out", certificate)
	run(f.t, nil, "openssl", "pkcs12", "-export", "-iter", "500000", "-inkey", key, "-in", certificate, "-passout", "pass:right", "-out", file)
	content, err := os.ReadFile(file)
	noError(f.t, err)
	body := object("name", "flood", "pkcs12_base64", base64.StdEncoding.EncodeToString(content), "passphrase", "wrong")
	got := f.callHalf(flood{half: 1000, call: func(int) int {
		return f.as("admin", http.MethodPost, f.project()+"/certificates", body)
	}}, 0)
	return got, f.usage()
}
