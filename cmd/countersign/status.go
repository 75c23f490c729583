package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/wire"
)

const (
	adminVariable  = "COUNTERSIGN_ADMIN"
	defaultAdmin   = "http://127.0.0.1:8081"
	statusTimeout  = 15 * time.Second // the server waits for its checks for a part of this
	maxStatusBytes = 10 << 20
)

func statusCommand() *cobra.Command {
	o := &clientOptions{output: "text"}
	var admin string
	cmd := &cobra.Command{
		Use: "status", Short: "Show whether a server is ready, and the state of its parts (for operators)", Args: cobra.NoArgs,
		Long: "Show whether a server is ready, and the state of its parts, as the address listen_admin says. No API key\n" +
			"is needed. If the server is not ready, the exit code is 1.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := printerOf(cmd, o.output)
			address := firstOf(admin, os.Getenv(adminVariable), defaultAdmin)
			u, err := url.Parse(address)
			if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
				return usageError{errors.New("the URL of listen_admin is not valid; give it in the form http://host:port")}
			}
			err = p.showStatus(cmd.Context(), strings.TrimSuffix(address, "/"))
			if err != nil && cmd.Context().Err() != nil {
				return errInterrupted
			}
			return p.explain(err)
		},
	}
	cmd.Flags().StringVar(&admin, "admin", "", "URL of the server's address listen_admin (default: "+adminVariable+", else "+defaultAdmin+")")
	o.addOutput(cmd.Flags())
	return cmd
}

// readiness is what the server answers: the details are members of a problem if it is not
// ready.
type readiness struct {
	wire.Readiness
	Status any    `json:"status"` // ready, or the HTTP status of the problem
	Detail string `json:"detail"`
}

func (p printer) showStatus(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/readyz", nil) //nolint:gosec // the user names the server
	if err != nil {
		return usageError{err}
	}
	answer, err := http.DefaultClient.Do(request) //nolint:gosec // as above
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	defer func() { _ = answer.Body.Close() }() // it is read, or its reading fails
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxStatusBytes))
	if err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	var found readiness
	var document map[string]any
	if err := errors.Join(json.Unmarshal(text, &found), json.Unmarshal(text, &document)); err != nil || found.Checks == nil {
		return fmt.Errorf("the answer of %s does not come from the address listen_admin of a server", address)
	}
	ready := answer.StatusCode == http.StatusOK
	if err := p.show(document, p.statusRows(found, ready)...); err != nil {
		return err
	}
	if !ready {
		return errors.New(firstOf(found.Detail, "the server is not ready"))
	}
	return nil
}

func (p printer) statusRows(r readiness, ready bool) [][]string {
	rows := [][]string{{"PART", "NAME", "STATE", "DETAIL"}, {"server", "", choose(ready, "ready", "not ready"), r.Detail}}
	for _, c := range r.Checks {
		rows = append(rows, []string{"check", c.Name, choose(c.OK, "ok", "failed"), ""})
	}
	for _, plugin := range slices.SortedFunc(slices.Values(r.Plugins), func(a, b wire.Plugin) int { return strings.Compare(a.Name, b.Name) }) {
		rows = append(rows, []string{"plugin", plugin.Name, plugin.State, plugin.Detail})
	}
	if r.Policy.Revision != "" {
		rows = append(rows, []string{"policy rules", r.Policy.Revision, choose(r.Policy.Problem == "", "ok", "newer rules are not valid"), r.Policy.Problem})
	}
	if r.TLS != nil {
		rows = append(rows, []string{"certificate", r.TLS.Serial, choose(r.TLS.Problem == "", "expires "+p.localTime(r.TLS.NotAfter), "newer files are not used"), r.TLS.Problem})
	}
	for _, node := range r.Nodes {
		rows = append(rows, []string{"other node", node.Host, choose(len(node.Differs) == 0, "ok", "differs"), strings.Join(node.Differs, ", ")})
	}
	return rows
}

func choose(yes bool, then, otherwise string) string {
	if yes {
		return then
	}
	return otherwise
}
