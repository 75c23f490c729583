package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/policies"
)

// The commands of this file are for authors of policy rules, and call no server.

func policyTestCommand(o *clientOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "test DIR",
		Short: "Test a folder of policy rules, as a server does before it uses them",
		Long: "Compile the *.rego files of DIR with the built-in rules, run the tests in *_test.rego and\n" +
			"evaluate the samples. The exit code is 1 if a server would not use the rules, or if DIR has no tests.",
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
			return p.explain(rulesError(args[0], report))
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

// rulesError says why a server would not use the rules, or that no test covers them.
func rulesError(dir string, r policies.Report) error {
	switch {
	case len(r.Problems) > 0:
		lines := []string{fmt.Sprintf("a server would not use the rules of %s:", dir)}
		for _, problem := range r.Problems {
			lines = append(lines, problem.String())
			if problem.Detail != "" {
				lines = append(lines, strings.Split(problem.Detail, "\n")...)
			}
		}
		return errors.New(strings.Join(lines, "\n"))
	case len(r.Tests) == 0:
		return fmt.Errorf("%s has no tests; write them as rules test_… in files *_test.rego", dir)
	}
	return nil
}

func policySchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the input of policy rules", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), policies.Schema)
			return err
		},
	}
}
