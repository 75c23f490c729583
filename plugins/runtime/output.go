package runtime

import (
	"bytes"
	"io"
	"log/slog"
	"regexp"
	"sync"

	"golang.org/x/time/rate"

	"github.com/countersign-dev/countersign/plugins/declaration"
)

// The most that a plugin can write into the host's log.
const (
	maxOutputLine  = 512 // bytes
	outputPerSec   = 10  // lines
	outputBurst    = 50  // lines
	withheldOutput = "plugin wrote output; it is withheld because the plugin holds secrets"
)

// output logs, at debug level, what a plugin writes to standard output and error.
// Once the plugin has received a secret, it logs only that something was written,
// because a stack trace or a careless print may contain the key.
type output struct {
	log   *slog.Logger
	limit *rate.Limiter
	copy  io.Writer // receives everything, if it is not nil

	mu       sync.Mutex
	line     []byte
	withheld bool
	reported bool // that output is withheld
	noMemory bool // the plugin's runtime reported that it ran out of memory
}

func newOutput(log *slog.Logger, copyTo io.Writer) *output {
	return &output{log: log, copy: copyTo, limit: rate.NewLimiter(outputPerSec, outputBurst)}
}

// withhold ends the logging permanently.
func (o *output) withhold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.withheld, o.line = true, nil
}

// isWithheld reports whether the plugin has received a secret.
func (o *output) isWithheld() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.withheld
}

// outOfMemory reports whether the plugin's runtime wrote that it could not
// get memory. This is the only information that the host takes from the output.
func (o *output) outOfMemory() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.noMemory
}

// noMemoryText matches the messages of Go's runtime.
var noMemoryText = regexp.MustCompile(`^(runtime|fatal error): .*(out of memory|cannot allocate memory)`)

// Write implements io.Writer.
func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.copy != nil {
		_, _ = o.copy.Write(text) // it writes to memory
	}
	o.noMemory = o.noMemory || noMemoryText.Match(text)
	if o.withheld {
		if !o.reported {
			o.log.Debug(withheldOutput)
		}
		o.reported = true
		return len(text), nil
	}
	for rest := text; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte{'\n'})
		o.line = append(o.line, part[:min(len(part), maxOutputLine-len(o.line))]...)
		if ended {
			o.flush()
		}
		rest = after
	}
	return len(text), nil
}

func (o *output) flush() {
	if len(o.line) > 0 && o.limit.Allow() {
		o.log.Debug("plugin output", "line", declaration.Printable(string(o.line), maxOutputLine))
	}
	o.line = o.line[:0]
}
