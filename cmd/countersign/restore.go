package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/backup"
	"github.com/countersign-dev/countersign/engine/failpoint"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
)

const restoreHelp = `Restore an installation on SQLite from a backup, into a data folder without a database.

The settings are those of "countersign serve", and the keeper, or the local key file, must
be that of the installation. Nothing is put into its place before the whole backup was
read, its HMAC and its audit log were verified, and the database was compared with its
anchor, if there is one. Then the anchor is replaced: to try a restore while the
installation serves elsewhere, use "countersign backup verify", or set another anchor.url.

--key-from-backup takes the local key file that was backed up by --with-local-key. That the
backup comes from your installation is not proven then: compare the keeper that is printed.

What was used since the backup looks unused in it. So every token that could be redeemed is
revoked, and every request that waits or could be claimed ends: ask for them anew. The
audit log says so (restore.accepted), and how much of it is lost. Members, roles, API keys
and passwords are as they were when the backup was made: what was taken from people since
is to be taken from them again, before callers can reach the server.`

const backupVerifyHelp = `Read a backup whole, and verify everything in it as "countersign restore" does, without
restoring it. The settings say which keeper, or which local key file, opens its keys.
--without-keeper leaves out what needs these: the HMAC of the backup and the audit log.

The unencrypted database is in a new folder below --temp meanwhile; a command that is killed
leaves it there.`

// restoreOptions say which backup is opened, and by whom.
type restoreOptions struct {
	file          string
	identities    string
	keyFromBackup bool
	temp          string
	withoutKeeper bool
}

func restoreCommand() *cobra.Command {
	var o restoreOptions
	return openingCommand(&o, "restore FILE", "Restore an installation on SQLite from a backup", restoreHelp, restoreBackup)
}

func backupVerifyCommand() *cobra.Command {
	var o restoreOptions
	cmd := openingCommand(&o, "verify FILE", "Read a backup whole and verify it", backupVerifyHelp, verifyBackup)
	cmd.Flags().StringVar(&o.temp, "temp", os.TempDir(), "folder for temporary files")
	cmd.Flags().BoolVar(&o.withoutKeeper, "without-keeper", false, "verify only what can be verified without the installation's keys")
	return cmd
}

// openingCommand is a command that opens a backup.
func openingCommand(o *restoreOptions, use, short, long string, run func(*cobra.Command, Config, restoreOptions) error) *cobra.Command {
	cmd := configured(&cobra.Command{Use: use, Short: short, Long: long, Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string, config Config) error {
		o.file = args[0]
		return run(cmd, config, *o)
	})
	cmd.Flags().StringVar(&o.identities, "identity", "", "file with the age identity that opens the backup; nobody else may read it")
	cmd.Flags().BoolVar(&o.keyFromBackup, "key-from-backup", false, "open the backup by the local key file that is in it")
	_ = cmd.MarkFlagRequired("identity") // it fails only for a flag that is not defined
	return cmd
}

// open reads the backup into a folder, until ctx ends.
func (o restoreOptions) open(ctx context.Context, folder string) (m backup.Manifest, err error) {
	text, err := engine.ReadSecretFile(o.identities)
	if err != nil {
		return m, fmt.Errorf("read the identity: %w", err)
	}
	defer clear(text)
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return m, fmt.Errorf("read the identity in %s: %w", o.identities, err)
	}
	file, err := os.Open(o.file)
	if err != nil {
		return m, err
	}
	defer func() { _ = file.Close() }() // opened for reading: nothing can be lost
	m, err = backup.Read(untilDone{ctx, file}, identities, folder)
	if err == nil && o.keyFromBackup && !m.Has(backup.KeyFile) {
		err = errors.New("the backup has no local key file: leave out --key-from-backup")
	}
	return m, err
}

// untilDone reads until a context ends.
type untilDone struct {
	ctx context.Context
	io.Reader
}

// Read implements io.Reader.
func (r untilDone) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

func verifyBackup(cmd *cobra.Command, config Config, o restoreOptions) (err error) {
	ctx := cmd.Context()
	folder, err := os.MkdirTemp(o.temp, "countersign-verify-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	s := &system{config: config}
	defer func() { err = errors.Join(err, s.close(context.WithoutCancel(ctx))) }()
	if s.log, err = newLogger(cmd.ErrOrStderr(), config.Log); err != nil {
		return usageError{err}
	}
	m, err := o.open(ctx, folder)
	if err != nil {
		return err
	}
	if err := s.openVerified(ctx, m, o, folder); err != nil {
		return err
	}
	said := "It can be read whole, and its database is sound and its audit log whole."
	if o.withoutKeeper {
		said = "It can be read whole, and its database is sound. Its HMAC and its audit log were not verified."
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s. %s\n", describe(m), said)
	return err
}

func describe(m backup.Manifest) string {
	with := "without the local key file"
	if m.Has(backup.KeyFile) {
		with = "with the local key file"
	}
	return fmt.Sprintf("Backup %s of %s, made on %s by version %s, %s", m.ID, m.MadeAt.Format(time.RFC3339), m.Host, m.Version, with)
}

// openVerified opens the database of a backup that was read into a folder, and verifies it.
func (s *system) openVerified(ctx context.Context, m backup.Manifest, o restoreOptions, folder string) error {
	if o.keyFromBackup {
		s.config.Keeper.File = filepath.Join(folder, backup.KeyFile)
	}
	if err := s.openRestored(ctx, filepath.Join(folder, backup.Database)); err != nil || o.withoutKeeper {
		return err
	}
	return s.verifyRestored(ctx, m)
}

// openRestored opens the database of a backup, and brings it to this program's schema.
func (s *system) openRestored(ctx context.Context, path string) error {
	store, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	s.store = store
	s.onClose(func(context.Context) error { return store.Close() })
	return store.CheckIntegrity(ctx)
}

// verifyRestored verifies all that only who has the keys can verify.
func (s *system) verifyRestored(ctx context.Context, m backup.Manifest) error {
	if err := s.openStoredKeys(ctx); err != nil {
		if m.Has(backup.KeyFile) {
			err = fmt.Errorf("%w (the backup has a local key file, which --key-from-backup takes)", err)
		}
		return err
	}
	if err := m.Check(s.auditKey); err != nil {
		return err
	}
	verifier := engine.Verifier{Store: s.store, Key: s.auditKey, Ages: s.config.Retention.ages(), Clock: engine.SystemClock}
	if _, err := verifier.VerifyAll(ctx); err != nil {
		return fmt.Errorf("verify the database of the backup: %w", err)
	}
	return nil
}

func restoreBackup(cmd *cobra.Command, config Config, o restoreOptions) (err error) {
	ctx := cmd.Context()
	s := &system{config: config}
	defer func() { err = errors.Join(err, s.close(context.WithoutCancel(ctx))) }()
	if s.log, err = newLogger(cmd.ErrOrStderr(), config.Log); err != nil {
		return usageError{err}
	}
	if err := s.readyToRestore(ctx); err != nil {
		return err
	}
	folder, err := s.emptyFolder("restore")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	m, err := o.open(ctx, folder)
	var done restored
	if err == nil {
		done, err = s.acceptBackup(ctx, m, o, folder)
	}
	failpoint.Hit("backup-accepted")
	if err == nil && o.keyFromBackup {
		err = s.restoreKeyFile(filepath.Join(folder, backup.KeyFile))
	}
	if err == nil {
		err = s.putIntoPlace(filepath.Join(folder, backup.Database))
	}
	if err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), describe(m), ".\n", done.String(), "Start the server.\n")
	return err
}

// restored is what a restore found and did. Keeper wraps the keys of the database.
type restored struct {
	engine.Restored
	keeper, anchor string
}

// readyToRestore returns an error unless the data folder is free for a database.
func (s *system) readyToRestore(ctx context.Context) error {
	if s.config.MongoDB.URI != "" {
		return usageError{errors.New("mongodb.uri is set, and a backup is restored into a data folder: leave it out, then carry the installation over by countersign migrate")}
	}
	if err := s.lockData(); err != nil {
		return err
	}
	if err := checkOwner(s.config.Data); err != nil {
		return err
	}
	path := databaseIn(s.config.Data)
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} { // SQLite would apply these to the restored database
		if _, err := os.Lstat(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(fmt.Errorf("%s exists: move the data folder %s away, so that nothing is lost, and repeat; "+
				"put its keys and its anchor.json back first if they are those of the installation that you restore", path+suffix, s.config.Data), err)
		}
	}
	return s.refuseMigrated(ctx)
}

// restoreKeyFile puts the local key file of the backup into its place, where none may be.
func (s *system) restoreKeyFile(from string) error {
	to := s.config.Keeper.File
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s exists: leave out --key-from-backup to use it, or move it away", to), err)
	}
	text, err := os.ReadFile(from) //nolint:gosec // the file is in a folder that this process made
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(to, text, 0o600, renameio.WithTempDir(filepath.Dir(to)))
	}
	clear(text)
	if err != nil {
		return fmt.Errorf("restore the local key file: %w", err)
	}
	return nil
}

// acceptBackup verifies the database, and ends in it what could be used a second time.
func (s *system) acceptBackup(ctx context.Context, m backup.Manifest, o restoreOptions, folder string) (done restored, err error) {
	opened := &system{config: s.config, log: s.log}
	defer func() { err = errors.Join(err, opened.close(context.WithoutCancel(ctx))) }()
	if err := opened.openVerified(ctx, m, o, folder); err != nil {
		return done, err
	}
	if err := opened.openAnchor(ctx); err != nil {
		return done, err
	}
	done.keeper, done.anchor = opened.keys.IDs()[0], opened.anchors.Target.String()
	if done.Restored, err = opened.anchors.AcceptBackup(ctx, engine.Backup{ID: m.ID, MadeAt: m.MadeAt}); err != nil {
		return done, err
	}
	if s.config.Temporal.Address == "" {
		err = opened.forgetTemporal(ctx)
	}
	return done, err
}

// forgetTemporal has the next start take the Temporal that it finds: the embedded one of
// before is in no backup.
func (s *system) forgetTemporal(ctx context.Context) error {
	before, err := s.installation().Temporal(ctx)
	if err != nil || before.ID == "" {
		return err
	}
	return s.installation().UseTemporal(ctx, before, engine.TemporalNamespace{}, "restored from a backup")
}

// putIntoPlace moves a closed database to where the server looks for it.
func (s *system) putIntoPlace(path string) error {
	to := databaseIn(s.config.Data)
	// SQLite says nothing if it could not copy its log into the database as it closed it.
	if _, err := os.Lstat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errors.New("the database could not be written whole: see whether the disk is full"), err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Rename(path, to); err != nil {
		return err
	}
	return engine.SyncFolder(filepath.Dir(to))
}

// checkOwner returns an error if a folder belongs to another user, who could not read what
// this process makes in it.
func checkOwner(path string) error {
	var folder unix.Stat_t
	if err := unix.Stat(path, &folder); err != nil {
		return fmt.Errorf("find the data folder %s: %w", path, err)
	}
	if own := os.Geteuid(); int(folder.Uid) != own {
		return fmt.Errorf("the data folder %s belongs to the user %d, and this command runs as the user %d: run it as the user of the server", path, folder.Uid, own)
	}
	return nil
}

// String says it in sentences.
func (done restored) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "Its keys are wrapped by the keeper %s. The anchor in %s is replaced.\n", done.keeper, done.anchor)
	switch {
	case done.Anchored.IsZero():
		text.WriteString("There is no anchor to compare it with, so nobody can say how much of the audit log is lost.\n")
	case len(done.Behind) == 0:
		fmt.Fprintf(&text, "It has everything that the anchor of %s has.\n", done.Anchored.UTC().Format(time.RFC3339))
	}
	for _, b := range done.Behind {
		fmt.Fprintf(&text, "%s.\n", b)
	}
	fmt.Fprintf(&text, "%d tokens that could be redeemed were revoked, and the requests that waited or could be claimed have ended.\n", done.TokensRevoked)
	return text.String()
}
