package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/keys"
)

const keysHelp = `See and change which keeper wraps the secrets of an installation: private keys, the URLs of
notification targets, and the keys of the installation itself. The settings are those of
"countersign serve", whose servers may run meanwhile.

To take a new keeper:

  1. Set keeper.url to it and add the old one to keeper.previous; for a new local key file,
     run "countersign keys rotate". Restart every server.
  2. Run "countersign keys rewrap", which has the new keeper wrap what the old one wrapped.
  3. When "countersign keys status" says that the old one is not needed, take it out of
     keeper.previous and restart every server. Backups from before still need it.`

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "See and change which keeper wraps the secrets of an installation", Long: keysHelp}
	cmd.AddCommand(
		keeperCommand("status", "List the keepers, and whether each is needed", (*system).printKeepers),
		keeperCommand("rewrap", "Have the present keeper wrap what other keepers wrapped", (*system).rewrap),
		rotateCommand(),
	)
	return cmd
}

// keeperCommand is a command on the secrets of an installation.
func keeperCommand(use, short string, run func(*system, context.Context, printer) error) *cobra.Command {
	form := outputForm("text")
	cmd := configured(&cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}, func(cmd *cobra.Command, _ []string, config Config) (err error) {
		s, err := openBeside(cmd, config)
		defer func() { err = errors.Join(err, s.close(context.WithoutCancel(cmd.Context()))) }()
		if err != nil {
			return err
		}
		return run(s, cmd.Context(), printerOf(cmd, form))
	})
	cmd.Flags().VarP(&form, "output", "o", "form of the answer: text or json")
	return cmd
}

// keeperLine is what is known of one keeper.
type keeperLine struct {
	engine.KeeperUse
	keys.KeeperState
	Configured bool `json:"configured"`
	Needed     bool `json:"needed"`
}

func (l keeperLine) state() string {
	switch {
	case !l.Configured:
		return "is not configured"
	case l.Failure != "":
		return "fails: " + l.Failure
	case l.Seals:
		return "wraps new secrets"
	}
	return "answers"
}

func (s *system) printKeepers(ctx context.Context, p printer) error {
	lines, err := s.keepers(ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"KEEPER", "PRIVATE KEYS", "TARGETS", "INSTALLATION", "STATE", "NEEDED", "UNUSED SINCE"}}
	for _, l := range lines {
		needed := map[bool]string{true: "yes", false: "no"}[l.Needed]
		rows = append(rows, []string{
			l.Keeper, strconv.Itoa(l.Secrets[engine.PrivateKeySecret]), strconv.Itoa(l.Secrets[engine.TargetSecret]), strconv.Itoa(l.Secrets[engine.InstallationSecret]),
			l.state(), needed, p.optionalTime(l.UnusedSince),
		})
	}
	if err := p.show(lines, rows...); err != nil {
		return err
	}
	for _, l := range lines {
		if l.Needed && (!l.Configured || l.Failure != "") {
			return fmt.Errorf("the keeper %s is needed, and %s", l.Keeper, l.state())
		}
	}
	return nil
}

// keepers are those that are configured, and those that wrap or wrapped something.
func (s *system) keepers(ctx context.Context) (lines []keeperLine, err error) {
	uses, err := s.rewrapping(nil).Uses(ctx)
	if err != nil {
		return nil, err
	}
	if s.openAuditKey(ctx) == nil { // else a line says which keeper is missing
		if err := s.rewrapping(nil).Unused(ctx, uses); err != nil {
			return nil, err
		}
	}
	samples := map[string]engine.SealedKey{}
	for id, use := range uses {
		samples[id] = use.Sample
	}
	states := s.keys.States(ctx, samples)
	for _, state := range states {
		use := engine.KeeperUse{Keeper: state.ID}
		if found := uses[state.ID]; found != nil {
			use = *found
		}
		lines = append(lines, keeperLine{KeeperUse: use, KeeperState: state, Configured: true, Needed: state.Seals || use.Total() > 0})
	}
	for _, state := range states { // two may have one id
		delete(uses, state.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(uses)) {
		lines = append(lines, keeperLine{KeeperUse: *uses[id], Needed: uses[id].Total() > 0})
	}
	return lines, nil
}

func (s *system) rewrapping(progress func(secrets int)) *engine.Rewrapping {
	return &engine.Rewrapping{Store: s.store, Keys: s.keys, Clock: engine.SystemClock, Progress: progress}
}

func (s *system) rewrap(ctx context.Context, p printer) error {
	if err := s.openAuditKey(ctx); err != nil {
		return err
	}
	if err := s.refuseOtherKeepers(ctx); err != nil {
		return err
	}
	log := s.every(progressEvery)
	n, err := s.rewrapping(func(secrets int) { log(ctx, "wrapping secrets anew", "secrets", secrets) }).Run(ctx)
	if shown := p.show(map[string]int{"rewrapped": n}, []string{fmt.Sprintf("%d secrets were wrapped anew.", n)}); shown != nil {
		return errors.Join(err, shown)
	}
	if err != nil {
		return fmt.Errorf("some secrets could not be wrapped anew; repeat the command when this is mended: %w", err)
	}
	return nil
}

// refuseOtherKeepers returns an error if a server that runs would not read what this command
// wraps anew, or wraps new secrets otherwise. Servers on SQLite do not say what they know.
func (s *system) refuseOtherKeepers(ctx context.Context) error {
	nodes, err := s.store.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("list the servers: %w", err)
	}
	for _, n := range nodes {
		known, _, _ := strings.Cut(n.Settings[keepersSetting], ", ")
		if n.Alive(engine.SystemClock()) && known != s.keys.IDs()[0] {
			return fmt.Errorf("the server on %s wraps new secrets by another keeper than this command: give it the same keeper settings, restart it, and repeat", n.Host)
		}
	}
	return nil
}

func rotateCommand() *cobra.Command {
	return configured(&cobra.Command{
		Use: "rotate NEW-FILE", Short: "Make a new local key file", Args: cobra.ExactArgs(1),
		Long: "Make a new local key file, and say which settings take it. A key management service rotates\nits keys by itself, under the same URL; for another key of it, see \"countersign keys --help\".",
	}, func(cmd *cobra.Command, args []string, config Config) error {
		if config.Keeper.URL != "" {
			return usageError{errors.New("keeper.url is set, so the local key file wraps no new secrets: set keeper.url to the new keeper and add this one to keeper.previous")}
		}
		old, err := filepath.Abs(config.Keeper.File)
		if err != nil {
			return err
		}
		path, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		if err := keys.CreateKeyFile(path); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "Set keeper.file to %s, add %s to keeper.previous, restart every server, and run countersign keys rewrap.\nBack up the new file, apart from the database: without it, what it wraps is lost.\n", path, &url.URL{Scheme: "keyfile", Path: old})
		return err
	})
}
