package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// readyCommand is for the health checks of containers, which have no other program that
// could ask.
func readyCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Ask the server on this machine or in this container whether it is ready",
		Long:  "Ask the server that has these settings, at the address that it listens on, whether it is ready. The exit\ncode is 0 only if it is.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(file, cmd.Flags())
			if err != nil {
				return usageError{err}
			}
			return askReady(cmd.Context(), config.Listen)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	addFlags(cmd.Flags(), "listen")
	return cmd
}

// askReady asks the server that listens on an address; on 127.0.0.1 if it listens on all.
func askReady(ctx context.Context, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return usageError{fmt.Errorf("listen: %w", err)}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultTransport.RoundTrip(request) // follows no redirect
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the server is not ready: it answered %d", answer.StatusCode)
	}
	return nil
}
