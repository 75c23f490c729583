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

// secretSource says where a secret, such as a passphrase, comes from: a file, standard
// input or, with neither, a hidden prompt. There is no flag for the secret itself,
// because every process of the machine can read arguments.
type secretSource struct {
	what  string // passphrase, password or URL
	file  string
	stdin bool
}

func (f *secretSource) addFlags(cmd *cobra.Command, what string) {
	f.what = what
	fromFile, fromStdin := strings.ToLower(what)+"-file", strings.ToLower(what)+"-stdin"
	cmd.Flags().StringVar(&f.file, fromFile, "", "file that contains the "+what)
	cmd.Flags().BoolVar(&f.stdin, fromStdin, false, "read the "+what+" from standard input")
	cmd.MarkFlagsMutuallyExclusive(fromFile, fromStdin)
}

// given reports whether a flag says where the secret comes from.
func (f *secretSource) given() bool { return f.file != "" || f.stdin }

// read returns the secret. The prompt asks twice for a new one.
func (f *secretSource) read(ctx context.Context, p printer, isNew bool) (wire.Secret, error) {
	switch {
	case f.file != "":
		text, err := p.readSecretFile(f.file)
		return trimLine(text), err
	case f.stdin:
		text, err := io.ReadAll(io.LimitReader(p.in, maxInput))
		if err != nil {
			return "", fmt.Errorf("read the %s: %w", f.what, err)
		}
		return trimLine(text), nil
	}
	first, err := p.prompt(ctx, f.what, strings.ToUpper(f.what[:1])+f.what[1:]+": ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := p.prompt(ctx, f.what, "Repeat the "+f.what+": ")
	if err == nil && second != first {
		err = fmt.Errorf("the two %ss differ; try again", f.what)
	}
	return first, err
}

// trimLine removes the line end that editors and echo add.
func trimLine(text []byte) wire.Secret {
	return wire.Secret(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"))
}

// prompt asks for a secret on the terminal, and does not show what is typed.
func (p printer) prompt(ctx context.Context, what, question string) (wire.Secret, error) {
	in, ok := p.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", usageError{fmt.Errorf("a %s is needed, and there is no terminal to ask for it: use --%[2]s-file or --%[2]s-stdin", what, strings.ToLower(what))}
	}
	before, err := term.GetState(int(in.Fd()))
	if err != nil {
		return "", fmt.Errorf("ask for the %s: %w", what, err)
	}
	if _, err := fmt.Fprint(p.err, question); err != nil {
		return "", fmt.Errorf("ask for the %s: %w", what, err)
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
			return "", fmt.Errorf("read the %s: %w", what, a.err)
		}
		return wire.Secret(a.text), nil
	}
}
