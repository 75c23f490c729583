package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// printer shows answers: to programs as the API's JSON, one document, to people
// as aligned text. What it says beside the answer goes to standard error.
type printer struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	clock    engine.Clock
}

func printerOf(cmd *cobra.Command, form outputForm) printer {
	return printer{in: cmd.InOrStdin(), out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), json: form == "json", clock: engine.SystemClock}
}

// show prints an answer: the document itself, or rows for people.
func (p printer) show(document any, rows ...[]string) error {
	var err error
	if p.json {
		var text strings.Builder
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err = e.Encode(document); err == nil {
			_, err = io.WriteString(p.out, escape(text.String()))
		}
	} else {
		err = table(p.out, rows)
	}
	if err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	return nil
}

// table aligns the cells of rows.
func table(out io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = clean(cell); cells[i] == "" {
				cells[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// clean takes out of a text from elsewhere whatever a terminal would obey
// instead of showing: control characters, and invisible ones that reorder.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if hidden(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
}

func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// escape is the same JSON with those characters as \u escapes: encoding/json
// does so for some of them only.
func escape(document string) string {
	var text strings.Builder
	for _, r := range document {
		if r == '\n' || !hidden(r) {
			text.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&text, `\u%04x`, unit)
		}
	}
	return text.String()
}

// warn says what did not stop the command but should not be missed.
func (p printer) warn(format string, args ...any) {
	_, _ = fmt.Fprintln(p.err, "countersign: warning:", clean(fmt.Sprintf(format, args...))) // nowhere left to say so
}

// note says what goes with the answer.
func (p printer) note(format string, args ...any) {
	_, _ = fmt.Fprintln(p.err, clean(fmt.Sprintf(format, args...))) // nowhere left to say so
}

// when is a time as people read it: theirs, and how far off it is.
func (p printer) when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime) + " (" + relative(t.Sub(p.clock())) + ")"
}

func (p printer) whenever(t *time.Time) string {
	if t == nil {
		return ""
	}
	return p.when(*t)
}

// relative says how far off a moment is, in its largest unit.
func relative(off time.Duration) string {
	amount := off.Abs()
	text := "now"
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}} {
		if amount >= unit.size {
			text = fmt.Sprintf("%d %s", amount/unit.size, unit.name)
			break
		}
	}
	switch {
	case text == "now":
		return text
	case off < 0:
		return text + " ago"
	}
	return "in " + text
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// gather reads a collection page by page, at most limit items, 0 for all.
func gather[T any](limit int, list func(client.Paging) (wire.Page[T], error)) (wire.Page[T], error) {
	var last wire.Page[T]
	got := 0
	all, err := client.All(limit, func(at client.Paging) (wire.Page[T], error) {
		if limit > 0 {
			at.Limit = min(at.Limit, limit-got) // so that the cursor goes on behind the last item shown
		}
		var err error
		last, err = list(at)
		got += len(last.Items)
		return last, err
	})
	if last.Items = all; all == nil {
		last.Items = []T{}
	}
	return last, err
}

// list prints a collection under a header, a row an item.
func list[T any](p printer, page wire.Page[T], header []string, row func(T) []string) error {
	rows := [][]string{header}
	for _, item := range page.Items {
		rows = append(rows, row(item))
	}
	if page.NextCursor != nil && !p.json {
		p.warn("there is more than --limit lets through")
	}
	return p.show(page, rows...)
}

// refusal is a problem as people read it.
type refusal struct{ *client.Problem }

// Unwrap returns the problem.
func (r refusal) Unwrap() error { return r.Problem }

// Error implements error: what was refused and why, what would change it, and
// what to quote when asking somebody.
func (r refusal) Error() string {
	text := clean(r.Title)
	if r.Detail != "" {
		text += ": " + clean(r.Detail)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Fields)) {
		if name == "remedies" {
			for _, remedy := range texts(r.Fields[name]) {
				text += "\n  remedy: " + clean(remedy)
			}
			continue
		}
		text += "\n  " + clean(strings.ReplaceAll(name, "_", " ")+": "+strings.Join(texts(r.Fields[name]), ", "))
	}
	if r.Code != "" {
		text += "\n  code: " + clean(r.Code)
	}
	if r.RequestID != "" {
		text += "\n  request id: " + clean(r.RequestID)
	}
	return text
}

// cleanError is an error whose text may hold what somebody else wrote, such as
// the names in a server's certificate.
type cleanError struct{ error }

// Unwrap returns the error.
func (e cleanError) Unwrap() error { return e.error }

// Error implements error.
func (e cleanError) Error() string {
	lines := strings.Split(e.error.Error(), "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n  ")
}

// texts is a member of a problem in words: those of a list, or one.
func texts(value any) []string {
	items, ok := value.([]any)
	if !ok {
		return []string{fmt.Sprint(value)}
	}
	words := make([]string, len(items))
	for i, item := range items {
		words[i] = fmt.Sprint(item)
	}
	return words
}

// explain words an error of the server for people and, where programs read the
// output, prints the problem document as the answer.
func (p printer) explain(err error) error {
	if err == nil {
		return nil
	}
	problem, ok := errors.AsType[*client.Problem](err)
	if !ok {
		return cleanError{err}
	}
	if p.json && problem.Code != "" {
		if err := p.show(problem); err != nil {
			return errors.Join(refusal{problem}, err)
		}
	}
	return refusal{problem}
}

// status shows one line that changes, on a terminal only, until done.
func (p printer) status() (line func(text string), done func()) {
	f, ok := p.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(string) {}, func() {}
	}
	const erase = "\r\x1b[K"                                              // to the start of the line, and away with what it holds
	line = func(text string) { _, _ = fmt.Fprint(f, erase, clean(text)) } // a line that cannot be shown harms nothing
	return line, func() { _, _ = fmt.Fprint(f, erase) }
}

// progress shows how far long work is, on a terminal only. Size is in bytes, -1
// if it is not known. What has been done is written to w.
func (p printer) progress(what string, size int64) (w io.Writer, done func()) {
	f, ok := p.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return io.Discard, func() {}
	}
	if size <= 0 {
		size = -1
	}
	bar := progressbar.NewOptions64(size, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true))
	return bar, func() { _ = bar.Finish() } // a bar that cannot be cleared harms nothing
}
