package main

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
)

func TestRelative(t *testing.T) {
	for off, want := range map[time.Duration]string{
		0: "now", 999 * time.Millisecond: "now", -999 * time.Millisecond: "now",
		time.Second: "in 1 s", -59 * time.Second: "59 s ago", 90 * time.Second: "in 1 min", -119 * time.Minute: "1 h ago",
		47 * time.Hour: "in 1 d", -100 * 24 * time.Hour: "100 d ago",
	} {
		if got := relative(off); got != want {
			t.Errorf("%v is %q, want %q", off, got, want)
		}
	}
}

func TestFileName(t *testing.T) {
	for name, want := range map[string]string{
		"cert.pem": "cert.pem", "../../etc/passwd": "passwd", `..\..\boot.ini`: "boot.ini", "/.bashrc": "bashrc",
		"a\x1b[2Jb\n": "a[2Jb", "Zürich.pem": "Zürich.pem", "": "", "..": "", "/": "", ". .": "", "cert.pem:stream": "",
		strings.Repeat("n", 256): "",
	} {
		got, err := fileName(name)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q is %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestShownJSONIsTheDocument(t *testing.T) {
	want := map[string]string{"a<b": "\x1b \x7f \u009b \u202e \U000e0041 \u2028 \" \\ \n ü"}
	var out strings.Builder
	if err := (printer{out: &out, json: true}).show(want); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil || !maps.Equal(got, want) {
		t.Errorf("%s is %q (%v), want %q", out.String(), got, err, want)
	}
	if strings.ContainsAny(out.String(), "\x1b\x7f\u009b\u202e\U000e0041\u2028") {
		t.Errorf("%q would be obeyed", out.String())
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	p := printer{clock: func() time.Time { return now }}
	for text, want := range map[string]time.Time{
		"":                          {},
		"2026-01-02T03:04:05+02:00": time.Date(2026, 1, 2, 1, 4, 5, 0, time.UTC),
		"2026-01-02":                time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local),
		"36h":                       now.Add(-36 * time.Hour),
	} {
		if got, err := p.parseTime(text); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"-1h", "0s", "tomorrow", "2026-13-01"} {
		if _, err := p.parseTime(text); exitCode(err) != exitUsage {
			t.Errorf("%q: %v", text, err)
		}
	}
}
