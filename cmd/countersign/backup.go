package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/google/renameio/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/backup"
	"github.com/countersign-dev/countersign/engine/keys"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
)

const backupHelp = `Back up an installation on SQLite into one file, while its server runs.

The settings are those of "countersign serve". The file has the database as it is at one
moment, encrypted to every --recipient (age, https://age-encryption.org); keep their
identities off this machine. It does not have the local key file, unless
--with-local-key asks for it: who has only the backup and an identity cannot read private
keys. Nor does it have what Temporal keeps, because a restore rebuilds that.

That a backup was started stands in the audit log of the system (backup.started). FILE -
writes to standard output. Run this as the user who owns the data folder.`

// backupOptions say what a backup has and who can open it.
type backupOptions struct {
	recipients     []string
	recipientsFile string
	withKey        bool
	out            outputFlags
}

func backupCommand() *cobra.Command {
	var o backupOptions
	cmd := configured(&cobra.Command{
		Use: "backup FILE", Short: "Back up an installation on SQLite into one encrypted file", Long: backupHelp, Args: cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, args []string, config Config) error {
		o.out.path = args[0]
		to, err := o.parse()
		if err != nil {
			return usageError{err}
		}
		return makeBackup(cmd, config, o, to)
	})
	cmd.Flags().StringArrayVar(&o.recipients, "recipient", nil, "age recipient that can open the backup, such as age1…; may be given several times")
	cmd.Flags().StringVar(&o.recipientsFile, "recipients-file", "", "file with age recipients, one in each line")
	cmd.Flags().BoolVar(&o.withKey, "with-local-key", false, "back up the local key file too: who opens the backup then reads every private key")
	cmd.Flags().BoolVar(&o.out.force, "force", false, "replace an existing file")
	cmd.AddCommand(backupVerifyCommand())
	return cmd
}

// parse reads the recipients.
func (o backupOptions) parse() (to []age.Recipient, err error) {
	lines := strings.Join(o.recipients, "\n")
	if o.recipientsFile != "" {
		text, err := os.ReadFile(o.recipientsFile)
		if err != nil {
			return nil, fmt.Errorf("read the recipients: %w", err)
		}
		lines += "\n" + string(text)
	}
	if strings.TrimSpace(lines) == "" {
		return nil, errors.New("name who can open the backup by --recipient or --recipients-file; age-keygen makes an identity and its recipient")
	}
	if to, err = age.ParseRecipients(strings.NewReader(lines)); err == nil {
		_, err = age.Encrypt(io.Discard, to...) // some cannot be combined
	}
	if err != nil {
		return nil, fmt.Errorf("read the recipients: %w", err)
	}
	return to, nil
}

func makeBackup(cmd *cobra.Command, config Config, o backupOptions, to []age.Recipient) (err error) {
	ctx := cmd.Context()
	if config.MongoDB.URI != "" {
		return usageError{errors.New("the installation is in MongoDB: back it up by the tools of MongoDB, as deploy/README.md says")}
	}
	s, err := openBeside(cmd, config)
	defer func() { err = errors.Join(err, s.close(context.WithoutCancel(ctx))) }()
	if err == nil {
		err = s.openAuditKey(ctx)
	}
	if err != nil {
		return err
	}
	out, err := o.out.create("", cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.discard()) }()
	if o.withKey {
		if err := s.checkLocalKey(ctx); err != nil {
			return err
		}
	}
	if err := s.lock("backup.lock", "another backup is being made"); err != nil {
		return err
	}
	folder, err := s.emptyFolder("backup")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	m, err := s.snapshot(ctx, folder, o.withKey)
	if err != nil {
		return err
	}
	written, done := io.Pipe()
	go func() { done.CloseWithError(backup.Write(done, to, m, s.auditKey)) }()
	r, err := out.save(written, io.Discard)
	if err = errors.Join(err, written.Close()); err != nil {
		return err
	}
	if r.File != "-" {
		if err := engine.SyncFolder(filepath.Dir(r.File)); err != nil {
			return err
		}
	}
	if err := s.noteBackup(m, r); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d bytes, SHA-256 %s, the database of %s\n", r.File, r.Size, r.SHA256, m.MadeAt.Format(time.RFC3339))
	return err
}

// openBeside opens the store and the keepers of an installation, beside a server that may run.
// The system is to be closed after an error too.
func openBeside(cmd *cobra.Command, config Config) (s *system, err error) {
	ctx := cmd.Context()
	s = &system{config: config, metrics: prometheus.NewRegistry()}
	if s.log, err = newLogger(cmd.ErrOrStderr(), config.Log); err != nil {
		return s, usageError{err}
	}
	if err := checkOwner(config.Data); err != nil {
		return s, err
	}
	if config.MongoDB.URI == "" { // a newer program than the server's would change the schema under it
		reader, err := sqlite.OpenReadOnly(ctx, databaseIn(config.Data))
		if err == nil {
			err = reader.Close()
		}
		if err != nil {
			return s, err
		}
	}
	if err := s.openServedStore(ctx); err != nil {
		return s, err
	}
	return s, s.openKeepers(ctx, true)
}

// openStoredKeys opens the keepers and the audit key of an installation that has one.
func (s *system) openStoredKeys(ctx context.Context) error {
	if err := s.openKeepers(ctx, true); err != nil {
		return err
	}
	return s.openAuditKey(ctx)
}

func (s *system) openAuditKey(ctx context.Context) (err error) {
	s.auditKey, err = keys.StoredDataKey(ctx, s.keys, s.store, auditKeyID)
	if errors.Is(err, engine.CodeNotFound) {
		err = errors.New("the database has no installation: no server was started on it")
	}
	if err != nil {
		return err
	}
	return s.store.UseAuditKey(ctx, s.auditKey)
}

// checkLocalKey returns an error unless the local key file alone opens all secrets.
func (s *system) checkLocalKey(ctx context.Context) error {
	if s.config.Keeper.URL != "" {
		return usageError{errors.New("keeper.url is set, so the local key file does not open the backup: leave out --with-local-key")}
	}
	uses, err := s.rewrapping(nil).Uses(ctx)
	if err != nil {
		return err
	}
	for id, use := range uses {
		if id != s.keys.IDs()[0] && use.Total() > 0 {
			return fmt.Errorf("the local key file alone does not open the backup, because the keeper %s wraps %d secrets: run countersign keys rewrap first", id, use.Total())
		}
	}
	return nil
}

// emptyFolder makes a folder in the data folder for unencrypted files. It removes what a
// killed command left there.
func (s *system) emptyFolder(name string) (string, error) {
	folder := filepath.Join(s.config.Data, name+".unfinished")
	err := os.RemoveAll(folder)
	if err == nil {
		err = os.Mkdir(folder, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("make a folder for unfinished files: %w", err)
	}
	return folder, nil
}

// snapshot puts the backup on record, and copies the database with that.
func (s *system) snapshot(ctx context.Context, folder string, withKey bool) (m backup.Manifest, err error) {
	m = backup.Manifest{ID: engine.NewID("backup"), MadeAt: engine.SystemClock().UTC().Truncate(time.Second), Version: version}
	m.Host, _ = os.Hostname() // it is only shown
	if err := s.store.Append(ctx, engine.AuditEntry{
		Ref: m.ID, ProjectID: engine.SystemChain, Time: m.MadeAt, Action: engine.ActionBackupStarted, Outcome: engine.AuditSuccess, Actor: engine.System,
		Detail: map[string]string{"backup": m.ID, "host": m.Host, "user": fmt.Sprint(os.Getuid()), "with_local_key": fmt.Sprint(withKey)},
	}); err != nil {
		return m, fmt.Errorf("put the backup on record: %w", err)
	}
	path := filepath.Join(folder, backup.Database)
	if err := s.store.(*sqlite.Store).Snapshot(ctx, path); err != nil {
		return m, err
	}
	err = m.Add(backup.Database, path)
	if err == nil && withKey {
		if err = m.Add(backup.KeyFile, s.config.Keeper.File); err != nil {
			err = fmt.Errorf("back up the local key file: %w", err)
		}
	}
	return m, err
}

// backupNote is what the last backup was, for the metrics of the server.
type backupNote struct {
	MadeAt time.Time `json:"made_at"`
	ID     string    `json:"id"`
	receipt
}

// registerBackupAge tells how old the last backup is.
func (s *system) registerBackupAge() {
	s.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_backup_age_seconds", Help: "How long ago the last backup was made by the backup command, +Inf if never.",
	}, func() float64 {
		var note backupNote
		text, err := os.ReadFile(noteIn(s.config.Data))
		if err != nil || json.Unmarshal(text, &note) != nil {
			return math.Inf(1)
		}
		return engine.SystemClock().Sub(note.MadeAt).Seconds()
	}))
}

func noteIn(data string) string { return filepath.Join(data, "backup.json") }

func (s *system) noteBackup(m backup.Manifest, r receipt) error {
	text, err := json.MarshalIndent(backupNote{m.MadeAt, m.ID, r}, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(noteIn(s.config.Data), append(text, '\n'), 0o600, renameio.WithTempDir(s.config.Data))
}
