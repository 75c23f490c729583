package host

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// What a plugin may call itself and its formats. The names end up in URLs, HTTP
// headers, archives and file systems: nothing is accepted that could mean
// something else there.
var (
	formatID  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
	fileName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	mediaType = regexp.MustCompile(`^[a-z]+/[a-z0-9][a-z0-9.+-]{0,63}$`)
)

// The most that one plugin may declare.
const (
	maxFormats     = 32
	maxNames       = 16  // aliases or includes of one format
	maxVersion     = 64  // bytes
	maxProse       = 500 // bytes of a description or typical use
	maxSchemaBytes = 16 << 10
)

// checkDescription refuses a plugin that declares something malformed or a
// format that its catalogue entry does not list.
func checkDescription(d *pluginv1.DescribeResponse, e entry) error {
	if v := d.GetVersion(); len(v) > maxVersion || printable(v, maxVersion) != v {
		return fmt.Errorf("it declares a version that is not %d printable characters at most", maxVersion)
	}
	if n := len(d.GetFormats()); n == 0 || n > maxFormats {
		return fmt.Errorf("it declares %d formats; from 1 to %d are allowed", n, maxFormats)
	}
	for _, f := range d.GetFormats() {
		if !formatID.MatchString(f.GetId()) {
			return fmt.Errorf("it declares a format id that does not match %s", formatID)
		}
		if !slices.Contains(e.Formats, f.GetId()) {
			return fmt.Errorf("it declares the format %s, which the catalogue does not list", f.GetId())
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
	}
	for _, alias := range f.GetAliases() {
		if !fileName.MatchString(alias) {
			return fmt.Errorf("has an alias that does not match %s", fileName)
		}
	}
	for _, include := range f.GetIncludes() {
		if !formatID.MatchString(include) {
			return fmt.Errorf("includes something that does not match %s", formatID)
		}
	}
	for _, text := range []string{f.GetDescription(), f.GetTypicalUse()} {
		if len(text) > maxProse || printable(text, maxProse) != text {
			return fmt.Errorf("has a description that is not one line of at most %d bytes", maxProse)
		}
	}
	return checkTargets(f.GetTargets())
}

// names are all under which callers may ask for the format.
func names(f *pluginv1.Format) []string {
	return append([]string{f.GetId(), f.GetFilename()}, f.GetAliases()...)
}
