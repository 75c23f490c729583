package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/policies"
)

// The commands of this file work on a team's own rules, where they are written:
// they call no server.

func policyTestCommand(o *clientOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "test DIR",
		Short: "Test a directory of policy rules, as a server would before it puts them in force",
		Long: "Compile the *.rego files of DIR with the built-in rules, run the tests in *_test.rego and\n" +
			"decide the samples. It calls no server, and exits 1 if anything is wrong or nothing is tested.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p := printerOf(cmd, o.output)
			report, err := policies.Check(cmd.Context(), args[0])
			if err != nil {
				return p.explain(err)
			}
			if err := p.show(report, reportRows(report)...); err != nil {
				return err
			}
			return p.explain(verdictOn(args[0], report))
		},
	}
}

func reportRows(r policies.Report) [][]string {
	var rows [][]string
	for _, t := range r.Tests {
		rows = append(rows, []string{t.Outcome, t.Name, fmt.Sprintf("%s:%d", t.File, t.Line)})
	}
	for _, s := range r.Samples {
		rows = append(rows, []string{"sample", s.Name, strings.TrimSpace(s.Outcome + " " + s.Code)})
	}
	return append(rows, []string{"Policy", r.Revision})
}

// verdictOn is why rules would not be put in force, or are not known to work.
func verdictOn(dir string, r policies.Report) error {
	switch {
	case len(r.Problems) > 0:
		lines := []string{fmt.Sprintf("a server would not put %s in force:", dir)}
		for _, problem := range r.Problems {
			lines = append(lines, problem.String())
			if problem.Detail != "" {
				lines = append(lines, strings.Split(problem.Detail, "\n")...)
			}
		}
		return errors.New(strings.Join(lines, "\n"))
	case len(r.Tests) == 0:
		return fmt.Errorf("%s holds no tests: they are the rules test_… in files *_test.rego", dir)
	}
	return nil
}

func policySchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of what policy rules decide from", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), policies.Schema)
			return err
		},
	}
}
