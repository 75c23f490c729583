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

// printer shows answers: as the API's JSON in one document, or as aligned text.
// Warnings and notes go to standard error.
type printer struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	clock    engine.Clock
}

func printerOf(cmd *cobra.Command, form outputForm) printer {
	return printer{in: cmd.InOrStdin(), out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), json: form == "json", clock: engine.SystemClock}
}

// show prints an answer: the document as JSON, or the rows as text.
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

// table aligns the cells of the rows. An empty cell is shown as "-".
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

// clean removes from a text of unknown origin what controls a terminal instead of
// being shown: control characters, and invisible ones that reorder text.
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

// escape writes those characters of a JSON document as \u escapes; encoding/json
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

// warn reports a problem that does not stop the command.
func (p printer) warn(format string, args ...any) {
	_, _ = fmt.Fprintln(p.err, "countersign: warning:", clean(fmt.Sprintf(format, args...))) // there is nowhere to report a failure
}

// note prints a remark on the answer.
func (p printer) note(format string, args ...any) {
	_, _ = fmt.Fprintln(p.err, clean(fmt.Sprintf(format, args...))) // there is nowhere to report a failure
}

// localTime shows a time in the local zone, and how far away it is.
func (p printer) localTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime) + " (" + relative(t.Sub(p.clock())) + ")"
}

func (p printer) optionalTime(t *time.Time) string {
	if t == nil {
		return ""
	}
	return p.localTime(*t)
}

// relative says how far away a time is, in the largest unit that fits.
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

// readPages reads a collection page by page, at most limit items, or all if limit is 0.
func readPages[T any](limit int, list func(client.Paging) (wire.Page[T], error)) (wire.Page[T], error) {
	var last wire.Page[T]
	got := 0
	all, err := client.All(limit, func(at client.Paging) (wire.Page[T], error) {
		if limit > 0 {
			at.Limit = min(at.Limit, limit-got) // so that the cursor continues after the last item shown
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

// showPage prints a collection: a header, and a row for each item.
func showPage[T any](p printer, page wire.Page[T], header []string, row func(T) []string) error {
	rows := [][]string{header}
	for _, item := range page.Items {
		rows = append(rows, row(item))
	}
	if page.NextCursor != nil && !p.json {
		p.warn("there are more items than --limit allows")
	}
	return p.show(page, rows...)
}

// refusal shows a problem as text.
type refusal struct{ *client.Problem }

// Unwrap returns the problem.
func (r refusal) Unwrap() error { return r.Problem }

// Error implements error: what was refused and why, the remedies, and the request
// id to quote in a question.
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

// cleanError is an error whose text may contain text of unknown origin, such as
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

// texts returns the items of a problem's member as texts; a single value is one item.
func texts(value any) []string {
	items, ok := value.([]any)
	if !ok {
		return []string{fmt.Sprint(value)}
	}
	list := make([]string, len(items))
	for i, item := range items {
		list[i] = fmt.Sprint(item)
	}
	return list
}

// explain makes an error of the server readable. With -o json, it also prints the
// problem document as the answer.
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

// status shows a line that changes until done is called, if standard error is a
// terminal.
func (p printer) status() (line func(text string), done func()) {
	f, ok := p.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(string) {}, func() {}
	}
	const erase = "\r\x1b[K"                                              // moves to the start of the line and erases it
	line = func(text string) { _, _ = fmt.Fprint(f, erase, clean(text)) } // the line is optional: a failure is ignored
	return line, func() { _, _ = fmt.Fprint(f, erase) }
}

// progress shows the progress of a transfer until done is called, if standard error
// is a terminal. The caller writes what it transferred to w. Size is in bytes, -1 if
// it is not known.
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
	return bar, func() { _ = bar.Finish() } // the bar is optional: a failure is ignored
}
