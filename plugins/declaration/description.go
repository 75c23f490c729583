// Package declaration checks what a plugin declares about its formats: their
// names, options and targets. Start with [Check].
//
// The host trusts no plugin. What a plugin declares ends up in URLs, HTTP
// headers, archives, file systems and command lines, and its options schema
// runs in the host's process. This package therefore accepts only what has one
// meaning everywhere and costs no more than its length suggests.
package declaration

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// The patterns that names must match.
var (
	formatID  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
	fileName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	mediaType = regexp.MustCompile(`^[a-z]+/[a-z0-9][a-z0-9.+-]{0,63}$`)
)

// MaxVersion is the longest version that a plugin may declare, in bytes.
const MaxVersion = 64

// The most that one plugin may declare.
const (
	maxFormats     = 32
	maxNames       = 16  // aliases or includes of one format
	maxProse       = 500 // bytes of a description or typical use
	maxSchemaBytes = 16 << 10
)

// Check returns an error if a host would refuse the plugin for what it declares.
// It checks all that does not depend on other plugins: a format that includes
// others gets its options from them, so its targets are not checked here.
func Check(d *pluginv1.DescribeResponse) error {
	if err := CheckForm(d); err != nil {
		return err
	}
	if err := CheckNames("it", d, map[string]string{}); err != nil {
		return err
	}
	for _, f := range d.GetFormats() {
		schema, err := ParseSchema(f.GetOptionsSchema())
		if err == nil && len(f.GetIncludes()) == 0 {
			_, err = Targets(f, schema)
		}
		if err != nil {
			return fmt.Errorf("its format %s: %w", f.GetId(), err)
		}
	}
	return nil
}

// CheckForm returns an error if a name, number or length is not allowed. It does
// not look into the options schemas.
func CheckForm(d *pluginv1.DescribeResponse) error {
	if !isLine(d.GetVersion(), MaxVersion) {
		return fmt.Errorf("it declares a version that is not %d printable characters at most", MaxVersion)
	}
	if n := len(d.GetFormats()); n == 0 || n > maxFormats {
		return fmt.Errorf("it declares %d formats; from 1 to %d are allowed", n, maxFormats)
	}
	for _, f := range d.GetFormats() {
		if !formatID.MatchString(f.GetId()) {
			return fmt.Errorf("it declares a format id that does not match %s", formatID)
		}
		if err := checkFormat(f); err != nil {
			return fmt.Errorf("its format %s %w", f.GetId(), err)
		}
	}
	return nil
}

func checkFormat(f *pluginv1.Format) error {
	switch {
	case !fileName.MatchString(f.GetFilename()):
		return fmt.Errorf("has a file name that does not match %s", fileName)
	case !mediaType.MatchString(f.GetMediaType()):
		return fmt.Errorf("has a media type that does not match %s", mediaType)
	case len(f.GetAliases()) > maxNames, len(f.GetIncludes()) > maxNames:
		return fmt.Errorf("has more than %d aliases or includes", maxNames)
	case len(f.GetOptionsSchema()) > maxSchemaBytes:
		return fmt.Errorf("has an options schema of more than %d bytes", maxSchemaBytes)
	case !isLine(f.GetDescription(), maxProse), !isLine(f.GetTypicalUse(), maxProse):
		return fmt.Errorf("has a description that is not one line of at most %d bytes", maxProse)
	}
	for _, alias := range f.GetAliases() {
		if !fileName.MatchString(alias) {
			return fmt.Errorf("has an alias that does not match %s", fileName)
		}
	}
	for _, include := range f.GetIncludes() {
		if !formatID.MatchString(include) {
			return fmt.Errorf("includes an id that does not match %s", formatID)
		}
	}
	return checkTargets(f.GetTargets())
}

// Names returns all names under which callers may ask for the format.
func Names(f *pluginv1.Format) []string {
	return append([]string{f.GetId(), f.GetFilename()}, f.GetAliases()...)
}

// CheckNames enters the names of the plugin's formats into taken, which maps each
// name to the plugin that has it. If one of them is taken, it returns an error
// and enters none.
func CheckNames(plugin string, d *pluginv1.DescribeResponse, taken map[string]string) error {
	own := map[string]bool{}
	for _, f := range d.GetFormats() {
		for _, name := range Names(f) {
			if owner, ok := taken[name]; ok {
				return fmt.Errorf("its format %s claims the name %s, which plugin %s has", f.GetId(), name, owner)
			}
			if own[name] {
				return errors.New("it claims the name " + name + " twice")
			}
			own[name] = true
		}
	}
	for name := range own {
		taken[name] = plugin
	}
	return nil
}
