package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

func auditCommand(o *clientOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "List, verify and export the audit log",
		Long: "List, verify and export the project's audit log. A system administrator reads the entries that\n" +
			"belong to no project, such as failed logins, with --project " + client.SystemChain + ".",
	}
	cmd.AddCommand(auditListCommand(o), auditVerifyCommand(o), auditExportCommand(o))
	return cmd
}

// auditFilter is the flags that select audit entries.
type auditFilter struct{ action, actor, certificate, request, from, to string }

func (f *auditFilter) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.action, "action", "", "only this action, such as cert.downloaded")
	flags.StringVar(&f.actor, "actor", "", "only by this actor: id of a user or API key")
	flags.StringVar(&f.certificate, "certificate", "", "only about this certificate, by id or name")
	flags.StringVar(&f.request, "request", "", "only about this request, by id")
	flags.StringVar(&f.from, "from", "", "only from this time on: RFC 3339, a local date such as 2006-01-02, or a duration before now, such as 24h")
	flags.StringVar(&f.to, "to", "", "only before this time, in the forms of --from")
}

func (f *auditFilter) query(ctx context.Context, s *session) (client.AuditQuery, error) {
	q := client.AuditQuery{Action: f.action, Actor: f.actor, RequestID: f.request}
	var err error
	if q.From, err = s.parseTime(f.from); err != nil {
		return q, fmt.Errorf("--from: %w", err)
	}
	if q.To, err = s.parseTime(f.to); err != nil {
		return q, fmt.Errorf("--to: %w", err)
	}
	if f.certificate != "" {
		c, err := s.certificate(ctx, f.certificate)
		if err != nil {
			return q, err
		}
		q.CertificateID = c.ID
	}
	return q, nil
}

// parseTime reads a time (RFC 3339), a local date, or a duration before now.
func (p printer) parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return t, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return p.clock().Add(-ago), nil
	}
	return time.Time{}, usageError{fmt.Errorf("%q is not valid; give a time (RFC 3339), a date or a duration", text)}
}

func auditListCommand(o *clientOptions) *cobra.Command {
	var filter auditFilter
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List audit entries, newest first", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			q, err := filter.query(ctx, s)
			if err != nil {
				return err
			}
			page, err := readPages(limit, func(at client.Paging) (wire.Page[wire.AuditEntry], error) {
				q.Paging = at
				return s.AuditLogs(ctx, s.project, q)
			})
			if err != nil {
				return err
			}
			header := []string{"SEQ", "TIME", "ACTION", "OUTCOME", "ACTOR", "IP", "FORMAT", "REQUEST", "DETAIL"}
			return showPage(s.printer, page, header, func(e wire.AuditEntry) []string {
				return []string{
					strconv.FormatInt(e.Seq, 10), s.localTime(e.Time), e.Action, e.Outcome, firstOf(e.Actor.Name, e.Actor.Type), e.IP,
					e.Format, e.RequestID, detailText(e.Detail),
				}
			})
		}),
	}
	filter.addFlags(cmd)
	addLimit(cmd, &limit)
	return cmd
}

// detailText is an entry's detail in one line, sorted by name.
func detailText(d map[string]string) string {
	var members []string
	for _, name := range slices.Sorted(maps.Keys(d)) {
		members = append(members, name+"="+d[name])
	}
	return strings.Join(members, " ")
}

func auditVerifyCommand(o *clientOptions) *cobra.Command {
	var anchor string
	var sinceAnchor bool
	var archives []string
	cmd := &cobra.Command{
		Use:   "verify [--anchor SEQ:HASH] [--archive FILE]... | --since-anchor",
		Short: "Check the audit log, and compare the documents with it",
		Long: "Check the hash chain of the audit log for a change, a gap or a reordering, and compare the documents\n" +
			"with it: each must be as its latest entry says, and none may be missing. It prints the head of the\n" +
			"chain. Note the head elsewhere: given as --anchor later, it shows whether entries were removed at the\n" +
			"end, or the whole chain rewritten. The server also stores heads outside the database by itself; with\n" +
			"--since-anchor only what follows the last of these is checked. The exit code is 1 if the chain is broken, or if a document and\n" +
			"the log do not agree.\n\n" +
			"If retention deleted the beginning of the chain, a later entry says up to which number, and proves it.\n" +
			"With --archive, a file to which these entries were written before is checked too: its entries follow one\n" +
			"another, and its SHA-256 is in the chain, or in another file that is given and proven. A file of a run\n" +
			"that was interrupted is not proven: a later file has its entries again.",
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			head, err := parseAnchor(anchor)
			if err != nil {
				return err
			}
			_, done := s.progress("verifying", -1)
			v, err := s.VerifyAudit(ctx, s.project, head, sinceAnchor)
			done()
			if err != nil {
				return err
			}
			return s.verifyArchives(ctx, v, archives)
		}),
	}
	cmd.Flags().StringVar(&anchor, "anchor", "", "a head that was noted earlier and must still be in the chain, as SEQ:HASH")
	cmd.Flags().BoolVar(&sinceAnchor, "since-anchor", false, "check only what follows the head that the server last stored outside the database")
	cmd.Flags().StringArrayVar(&archives, "archive", nil, "a file with entries that retention deleted; may be given several times")
	cmd.MarkFlagsMutuallyExclusive("anchor", "since-anchor")
	cmd.MarkFlagsMutuallyExclusive("archive", "since-anchor") // only a whole verification proves an archive
	return cmd
}

func parseAnchor(text string) (wire.AuditHead, error) {
	if text == "" {
		return wire.AuditHead{}, nil
	}
	number, hash, ok := strings.Cut(text, ":")
	seq, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || seq < 1 || hash == "" {
		return wire.AuditHead{}, usageError{errors.New("--anchor is not valid; give it as SEQ:HASH")}
	}
	return wire.AuditHead{Seq: seq, Hash: hash}, nil
}

func (s *session) showAuditVerdict(v wire.AuditVerdict, more [][]string) error {
	result := "intact"
	if v.BrokenAt > 0 {
		result = "broken"
	}
	rows := [][]string{{"Chain", result}}
	if v.BeginsAt > 1 {
		rows = append(rows, []string{"Begins at", strconv.FormatInt(v.BeginsAt, 10) + ", because retention deleted the entries before"})
	}
	if v.After > 0 {
		rows = append(rows, []string{"Checked after", strconv.FormatInt(v.After, 10)})
	}
	rows = append(rows, [][]string{{"Entries", strconv.FormatInt(v.Entries, 10)}, {"Head", fmt.Sprintf("%d:%s", v.Head.Seq, v.Head.Hash)}}...)
	for _, d := range v.Disagreements {
		rows = append(rows, []string{d.Document, d.ID + ": " + d.Problem})
	}
	err := s.show(v, append(rows, more...)...)
	switch {
	case err != nil || v.OK:
		return err
	case v.BrokenAt > 0:
		return fmt.Errorf("the audit chain is broken at entry %d: %s", v.BrokenAt, clean(v.Problem))
	}
	return errors.New("the audit log and the documents do not agree; the list above says where")
}

// exported is what audit export prints for programs.
type exported struct {
	receipt
	Format string `json:"format"`
}

func auditExportCommand(o *clientOptions) *cobra.Command {
	var filter auditFilter
	var format string
	var out outputFlags
	cmd := &cobra.Command{
		Use: "export", Short: "Write audit entries to a file, newest first", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) (err error) {
			if err := out.check(s.printer); err != nil {
				return err
			}
			if format != "ndjson" && format != "csv" {
				return usageError{errors.New("--format must be ndjson or csv")}
			}
			q, err := filter.query(ctx, s)
			if err != nil {
				return err
			}
			to, err := out.create("audit-"+s.project+"."+format, s.out)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, to.discard()) }()
			return s.export(ctx, q, format, to)
		}),
	}
	filter.addFlags(cmd)
	cmd.Flags().StringVar(&format, "format", "ndjson", "ndjson or csv")
	out.addFlags(cmd.Flags(), "named after the project")
	return cmd
}

func (s *session) export(ctx context.Context, q client.AuditQuery, format string, to *output) error {
	entries, err := s.ExportAudit(ctx, s.project, q, format)
	if err != nil {
		return err
	}
	defer func() { _ = entries.Close() }() // a failure to read was reported already
	progress, done := s.progress("exporting", -1)
	saved, err := to.save(entries, progress)
	done()
	if err != nil || to.path == "-" {
		return err
	}
	return s.show(exported{saved, format}, saved.rows()...)
}
