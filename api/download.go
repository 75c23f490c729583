package api

import (
	"context"
	"encoding/base64"
	"errors"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type tokenInput struct {
	Token string `path:"token"`
}

type redeemInput struct{ Body wire.RedeemBody }

// fileOutput is a file on its way to the one caller who gets it.
type fileOutput struct{ Body func(huma.Context) }

// peekOutput is what is known of a file before it is rendered.
type peekOutput struct {
	ContentType        string `header:"Content-Type"`
	ContentDisposition string `header:"Content-Disposition"`
}

func (s *Server) redeemEndpoints() {
	errors := []int{403, 404, 410, 429, 502}
	e := endpoint{
		id: "peek", method: http.MethodHead, path: base + "/downloads/{token}", tag: "Downloads",
		summary: "Tell what a token stands for", description: "Never uses the token up.",
		access: access{public: true}, errors: errors,
	}
	register(s, e, func(ctx context.Context, k *call, in *tokenInput) (*peekOutput, error) {
		return s.peek(ctx, k, engine.Secret(in.Token))
	})
	e.id, e.method, e.responses, e.summary = "download", http.MethodGet, fileResponse(), "Fetch the file"
	e.description = "Uses the token up: of all who hold it, one gets the file. Prefetches and link previews are refused, " +
		"and while whoever asked for the file is disabled, everybody is (403 forbidden): neither uses the token up."
	register(s, e, func(ctx context.Context, k *call, in *tokenInput) (*fileOutput, error) {
		return s.redeem(ctx, k, engine.Secret(in.Token))
	})
	e.id, e.method, e.path, e.responses = "redeem", http.MethodPost, base+"/downloads", fileResponse()
	e.summary = "Fetch the file, with the token in the body"
	register(s, e, func(ctx context.Context, k *call, in *redeemInput) (*fileOutput, error) {
		return s.redeem(ctx, k, engine.Secret(in.Body.Token))
	})
}

func (s *Server) redeem(ctx context.Context, k *call, token engine.Secret) (*fileOutput, error) {
	if err := s.knownToken(ctx, k, token); err != nil {
		outcome(s.metrics.redemptions, "", err)
		return nil, err
	}
	file, err := s.downloads.Redeem(ctx, engine.RedeemRequest{Token: token, Prefetch: k.prefetch, Origin: k.Origin})
	outcome(s.metrics.redemptions, "consumed", err)
	if err != nil {
		return nil, s.countUnknown(k, err)
	}
	return &fileOutput{func(hc huma.Context) { send(humafiber.Unwrap(hc), file) }}, nil
}

func (s *Server) peek(ctx context.Context, k *call, token engine.Secret) (*peekOutput, error) {
	if err := s.knownToken(ctx, k, token); err != nil {
		return nil, err
	}
	file, err := s.downloads.Peek(ctx, engine.RedeemRequest{Token: token, Prefetch: k.prefetch, Origin: k.Origin})
	if err != nil {
		return nil, s.countUnknown(k, err)
	}
	return &peekOutput{ContentType: mediaType(file), ContentDisposition: disposition(file.Name)}, nil
}

// tokens are 256 bits in base64url.
var tokens = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// knownToken refuses what cannot be a token, and to an address that tried too
// many, any that is not there: without a look at the record for each.
func (s *Server) knownToken(ctx context.Context, k *call, token engine.Secret) error {
	seconds, limited := s.unknownTokens.exhausted(k.IP, s.clock())
	shaped := tokens.MatchString(token.Reveal())
	if shaped && !limited {
		return nil // Redeem or Peek will tell
	}
	if shaped {
		if _, err := s.store.Token(ctx, engine.SecretDigest(token)); !errors.Is(err, engine.CodeNotFound) {
			return nil
		}
	}
	if limited {
		return engine.Errorf(engine.CodeRateLimited, "too many unknown tokens from this address").With(retryAfter, seconds)
	}
	if k.prefetch {
		return engine.Errorf(engine.CodePrefetchRefused, "a prefetch or link preview does not get the file")
	}
	s.downloads.RecordSystemRefusal(ctx, engine.ActionDownloadRefused, engine.CodeTokenUnknown, engine.Caller{Origin: k.Origin})
	return s.countUnknown(k, engine.Errorf(engine.CodeTokenUnknown, "there is no such token"))
}

// countUnknown counts an unknown token against the caller's address.
func (s *Server) countUnknown(k *call, err error) error {
	if errors.Is(err, engine.CodeTokenUnknown) {
		s.unknownTokens.count(k.IP, s.clock())
	}
	return err
}

// send hands the file to fasthttp, which writes it after the handlers.
func send(c *fiber.Ctx, file *engine.File) {
	c.Set(fiber.HeaderContentType, mediaType(file))
	c.Set(fiber.HeaderContentDisposition, disposition(file.Name))
	c.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(file.SHA256[:])+":") // RFC 9530, section 3
	c.Status(fiber.StatusOK)
	c.Context().SetBodyStream(newTransmission(file), len(file.Content))
}

// mediaType is the file's as its plugin declares it, if that is one.
func mediaType(file *engine.File) string {
	if _, _, err := mime.ParseMediaType(file.MediaType); err != nil {
		return fiber.MIMEOctetStream
	}
	return file.MediaType
}

// disposition makes Content-Disposition (RFC 6266): an ASCII name for old
// clients and the name itself in RFC 8187 (once RFC 5987) form.
func disposition(name string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\/`, r) {
			return '_'
		}
		return r
	}, name)
	var extended strings.Builder
	for _, b := range []byte(name) {
		if attrChar(b) {
			extended.WriteByte(b)
		} else {
			const hex = "0123456789ABCDEF"
			extended.Write([]byte{'%', hex[b>>4], hex[b&15]})
		}
	}
	return `attachment; filename="` + ascii + `"; filename*=UTF-8''` + extended.String()
}

// attrChar tells whether RFC 8187, section 3.2.1, lets b stand for itself.
func attrChar(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("!#$&+-.^_`|~", b) >= 0
}
