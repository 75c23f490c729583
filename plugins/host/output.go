package host

import (
	"bytes"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/time/rate"
)

// The bounds of what a plugin can put into the host's log.
const (
	maxOutputLine  = 512 // bytes
	outputPerSec   = 10  // lines
	outputBurst    = 50  // lines
	withheldOutput = "plugin wrote output; it is withheld because the plugin holds secrets"
)

// output logs, at debug level, what a plugin writes to standard output and
// error. From the moment the plugin is handed its first secret it tells only
// that something was written: a trace or a careless print may hold the key.
type output struct {
	log    *slog.Logger
	limit  *rate.Limiter
	listen io.Writer // hears all of it, if it is not nil

	mu     sync.Mutex
	line   []byte
	secret bool
	told   bool
	memory bool // it said that it ran out of it
}

func newOutput(log *slog.Logger, listen io.Writer) *output {
	return &output{log: log, listen: listen, limit: rate.NewLimiter(outputPerSec, outputBurst)}
}

// withhold stops the logging for good.
func (o *output) withhold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.secret, o.line = true, nil
}

// withheld tells whether the plugin has been handed a secret.
func (o *output) withheld() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.secret
}

// starved tells whether the plugin's runtime said that the system gave it no
// more memory. That is all that is ever taken from what it writes.
func (o *output) starved() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.memory
}

// starvedWords are how Go's runtime says so.
var starvedWords = regexp.MustCompile(`^(runtime|fatal error): .*(out of memory|cannot allocate memory)`)

// Write implements io.Writer.
func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.listen != nil {
		_, _ = o.listen.Write(text) // it listens in memory
	}
	o.memory = o.memory || starvedWords.Match(text)
	if o.secret {
		if !o.told {
			o.log.Debug(withheldOutput)
		}
		o.told = true
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
		o.log.Debug("plugin output", "line", printable(string(o.line), maxOutputLine))
	}
	o.line = o.line[:0]
}

// printable is text without control characters and cut to a length in bytes, so
// that what a plugin says cannot break out of a log line or flood it.
func printable(text string, length int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text[:min(len(text), length)], ""))
	return strings.TrimSpace(text)
}
