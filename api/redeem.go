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
	"github.com/countersign-dev/countersign/engine/tracing"
)

// tokenReader reads the record of download tokens.
type tokenReader interface {
	Token(ctx context.Context, digest string) (engine.TokenRecord, error)
	Tokens(ctx context.Context, projectID string, page engine.Page) ([]engine.TokenRecord, string, error)
}

type tokenInput struct {
	Token string `path:"token"`
}

type redeemInput struct{ Body wire.RedeemBody }

// fileOutput is the answer that is a file.
type fileOutput struct{ Body func(huma.Context) }

// peekOutput has the headers that are known before the file is rendered.
type peekOutput struct {
	ContentType        string `header:"Content-Type"`
	ContentDisposition string `header:"Content-Disposition"`
}

func (s *Server) redeemEndpoints() {
	register(s, endpoint{
		id: "peek", load: redeeming, method: http.MethodHead, path: base + "/downloads/{token}", access: public, tag: "Downloads",
		summary: "Read the headers of a token's file", description: "Never consumes the token.",
		errors: redeemErrors,
	}, s.peek)
	register(s, endpoint{
		id: "download", load: redeeming, method: http.MethodGet, path: base + "/downloads/{token}", access: public, tag: "Downloads",
		summary: "Redeem a token", description: redeemDescription, errors: redeemErrors, responses: fileResponse(),
	}, s.redeemByURL)
	register(s, endpoint{
		id: "redeem", load: redeeming, method: http.MethodPost, path: base + "/downloads", access: public, tag: "Downloads",
		summary: "Redeem a token that is in the body", description: redeemDescription, errors: redeemErrors, responses: fileResponse(),
	}, s.redeemByBody)
}

const redeemDescription = "Answers with the file and consumes the token: of all callers who have it, one gets the file. " +
	"Prefetches and link previews are refused. " +
	"Everybody is refused while the requester, their role, the API key that they used, the policy or the people who approved no longer permit the download " +
	"(403 no_longer_permitted, or the code of the policy's denial; the member remedies says what would help). Refusals do not consume the token."

var redeemErrors = []int{
	http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusTooManyRequests, http.StatusBadGateway,
}

func (s *Server) redeemByURL(ctx context.Context, k *call, in *tokenInput) (*fileOutput, error) {
	return s.redeem(ctx, k, engine.Secret(in.Token))
}

func (s *Server) redeemByBody(ctx context.Context, k *call, in *redeemInput) (*fileOutput, error) {
	return s.redeem(ctx, k, engine.Secret(in.Body.Token))
}

func (s *Server) redeem(ctx context.Context, k *call, token engine.Secret) (*fileOutput, error) {
	if err := s.checkToken(ctx, k, token); err != nil {
		countOutcome(s.metrics.redemptions, "", err)
		return nil, err
	}
	file, err := s.downloads.Redeem(ctx, engine.RedeemRequest{Token: token, Prefetch: k.prefetch, Origin: k.Origin})
	countOutcome(s.metrics.redemptions, "consumed", err)
	if err != nil {
		return nil, s.countUnknown(k, err)
	}
	k.span.SetAttributes(tracing.Format.String(file.Format))
	return &fileOutput{func(hc huma.Context) { send(humafiber.Unwrap(hc), file) }}, nil
}

func (s *Server) peek(ctx context.Context, k *call, in *tokenInput) (*peekOutput, error) {
	token := engine.Secret(in.Token)
	if err := s.checkToken(ctx, k, token); err != nil {
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

// checkToken refuses what cannot be a token, without asking the store, and every
// unknown token of an address that presented too many.
func (s *Server) checkToken(ctx context.Context, k *call, token engine.Secret) error {
	seconds, limited := s.unknownTokens.exhausted(k.Network(), s.clock())
	wellFormed := tokens.MatchString(token.Reveal())
	if wellFormed && !limited {
		return nil // Redeem and Peek check the rest
	}
	if wellFormed {
		if _, err := s.store.Token(ctx, engine.SecretDigest(token)); !errors.Is(err, engine.CodeNotFound) {
			return nil
		}
	}
	if limited {
		return rateLimited(seconds, "too many unknown tokens from this address; try again later")
	}
	if k.prefetch {
		return engine.Errorf(engine.CodePrefetchRefused, "prefetches and link previews do not get the file; open the link yourself")
	}
	s.downloads.Refusals.RecordUnknownToken(ctx, k.Origin)
	return s.countUnknown(k, engine.Errorf(engine.CodeTokenUnknown, "this token does not exist; check that you copied all of it"))
}

// countUnknown counts an unknown token against the caller's address.
func (s *Server) countUnknown(k *call, err error) error {
	if errors.Is(err, engine.CodeTokenUnknown) {
		s.unknownTokens.count(k.Network(), s.clock())
	}
	return err
}

// send gives the file to fasthttp, which writes it after the handlers returned.
func send(c *fiber.Ctx, file *engine.File) {
	c.Set(fiber.HeaderContentType, mediaType(file))
	c.Set(fiber.HeaderContentDisposition, disposition(file.Name))
	c.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(file.SHA256[:])+":") // RFC 9530, section 3
	c.Status(fiber.StatusOK)
	c.Context().SetBodyStream(newFileBody(file), len(file.Content))
}

// mediaType is the media type that the plugin declares, if it is a valid one.
func mediaType(file *engine.File) string {
	if _, _, err := mime.ParseMediaType(file.MediaType); err != nil {
		return fiber.MIMEOctetStream
	}
	return file.MediaType
}

// disposition makes a Content-Disposition (RFC 6266): an ASCII name for old clients
// and the full name in the form of RFC 8187 (formerly RFC 5987).
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

// attrChar reports whether b needs no escaping (RFC 8187, section 3.2.1).
func attrChar(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("!#$&+-.^_`|~", b) >= 0
}
