package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/countersign-dev/countersign/api/wire"
)

// passphraseSource says where a passphrase comes from: a file, standard input
// or, with neither, a hidden prompt. There is no flag for the passphrase itself,
// because every process of the machine can read arguments.
type passphraseSource struct {
	file  string
	stdin bool
}

func (f *passphraseSource) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "passphrase-file", "", "file that contains the passphrase")
	cmd.Flags().BoolVar(&f.stdin, "passphrase-stdin", false, "read the passphrase from standard input")
	cmd.MarkFlagsMutuallyExclusive("passphrase-file", "passphrase-stdin")
}

// read returns the passphrase. The prompt asks twice for a new one.
func (f *passphraseSource) read(ctx context.Context, p printer, isNew bool) (wire.Secret, error) {
	switch {
	case f.file != "":
		text, err := p.readSecretFile(f.file)
		return trimLine(text), err
	case f.stdin:
		text, err := io.ReadAll(io.LimitReader(p.in, maxInput))
		if err != nil {
			return "", fmt.Errorf("read the passphrase: %w", err)
		}
		return trimLine(text), nil
	}
	first, err := p.prompt(ctx, "Passphrase: ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := p.prompt(ctx, "Repeat the passphrase: ")
	if err == nil && second != first {
		err = errors.New("the two passphrases differ; try again")
	}
	return first, err
}

// trimLine removes the line end that editors and echo add.
func trimLine(text []byte) wire.Secret {
	return wire.Secret(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"))
}

// prompt asks on the terminal, and does not show what is typed.
func (p printer) prompt(ctx context.Context, question string) (wire.Secret, error) {
	in, ok := p.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", usageError{errors.New("a passphrase is needed, and there is no terminal to ask for it: use --passphrase-file or --passphrase-stdin")}
	}
	before, err := term.GetState(int(in.Fd()))
	if err != nil {
		return "", fmt.Errorf("ask for the passphrase: %w", err)
	}
	if _, err := fmt.Fprint(p.err, question); err != nil {
		return "", fmt.Errorf("ask for the passphrase: %w", err)
	}
	type answer struct {
		text []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() { // only input ends ReadPassword, so an interrupt abandons it
		text, err := term.ReadPassword(int(in.Fd()))
		typed <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(int(in.Fd()), before))
	case a := <-typed:
		_, _ = fmt.Fprintln(p.err) // the terminal did not show the line end
		if a.err != nil {
			return "", fmt.Errorf("read the passphrase: %w", a.err)
		}
		return wire.Secret(a.text), nil
	}
}
