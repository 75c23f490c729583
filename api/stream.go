package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/countersign-dev/countersign/api/stream"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

const streamPath = base + "/projects/{pid}/stream"

type streamInput struct {
	LastEventID      string `header:"Last-Event-ID" doc:"Id of the last event that arrived: the stream continues after it"`
	FirstLastEventID string `query:"last_event_id" doc:"The same, for a first connection that cannot send the header; the header has precedence"`
}

type streamOutput struct{ Body func(huma.Context) }

func (s *Server) streamEndpoints() {
	hub := stream.New(s.store, s.clock, s.log, s.options.Stream)
	register(s, endpoint{
		id: "stream", method: http.MethodGet, path: streamPath, access: role(engine.RoleViewer), tag: "Events",
		summary: "Follow what happens in a project",
		description: "Server-sent events (WHATWG HTML, section 9.2): request.updated, approval.updated, cert.downloaded and policy.updated (the " +
			"certificate policy). A caller gets an event only if they may GET what it is about. Ignore events with other names. " +
			"An id is the seq of an audit entry. One entry can have several events; the last of them has the id. A stream that continues there misses " +
			"no event, but may send one twice. Without an id the stream begins now; with 0, at the beginning of the project; " +
			"with an id after the last entry, now; with an id that is not a number, the answer is 422. " +
			"When a token ends, the request itself may change a moment after its event. " +
			"The stream ends when the caller's rights change (no later event is sent), when the server stops, and when the client reads too slowly: connect again. " +
			"A person can have at most 16 streams open.",
		responses: s.streamResponse(),
	}, func(ctx context.Context, k *call, in *streamInput) (*streamOutput, error) {
		opened, err := hub.Open(ctx, k.Caller, cmp.Or(in.LastEventID, in.FirstLastEventID))
		if err != nil {
			return nil, err
		}
		return &streamOutput{func(hc huma.Context) { s.sendStream(humafiber.Unwrap(hc), k, opened) }}, nil
	})
}

func (s *Server) streamResponse() map[string]*huma.Response {
	data := bodyOf[wire.StreamEvent](s)[fiber.MIMEApplicationJSON]
	return map[string]*huma.Response{"200": {
		Description: "The stream; the schema is that of each event's data", Content: map[string]*huma.MediaType{stream.MediaType: data},
	}}
}

func (s *Server) sendStream(c *fiber.Ctx, k *call, st *stream.Stream) {
	request := c.Context() // unlike c, it lives until the stream has ended
	st.Send(request, func() (time.Time, error) { return s.streamAllowed(request, k) }, func(position int64, cause error) {
		s.log.Info("stream ended", "request_id", k.id, "project", k.Project.ID, "position", position, "cause", cause)
	})
}

// streamAllowed is stillAllowed for a stream, with the time at which its credential ends
// unless it is used or changed before.
func (s *Server) streamAllowed(request *fasthttp.RequestCtx, k *call) (until time.Time, err error) {
	now, err := s.present(request, k)
	if err != nil {
		return time.Time{}, err
	}
	switch {
	case now.Key != nil:
		return now.Key.ExpiresAt, nil
	case now.Session != nil:
		until = now.Session.SeenAt.Add(s.authentication.Idle)
		if now.Session.ExpiresAt.Before(until) {
			until = now.Session.ExpiresAt
		}
	}
	return until, nil
}

// rightsTimeout limits one check of a stream's rights.
const rightsTimeout = 10 * time.Second

// stillAllowed checks that the credential of a request that takes long still belongs
// to the same person with the same role. It records nothing, because nobody tried to sign in.
func (s *Server) stillAllowed(request *fasthttp.RequestCtx, k *call) error {
	_, err := s.present(request, k)
	return err
}

// present is the call as it would be admitted now; see stillAllowed.
func (s *Server) present(request *fasthttp.RequestCtx, k *call) (*call, error) {
	ctx, cancel := context.WithTimeout(context.Background(), rightsTimeout)
	defer cancel()
	c := s.app.AcquireCtx(request)
	defer s.app.ReleaseCtx(c)
	now := &call{base: k.base}
	var err error
	if now.Principal, err = s.identify(ctx, c, now); err != nil && !errors.Is(err, errNoCredential) {
		return nil, err
	}
	if now.User.ID != k.User.ID {
		return nil, stream.ErrRights
	}
	if k.Project.ID == engine.SystemChain {
		if !now.IsSystemAdmin() {
			return nil, stream.ErrRights
		}
		return now, nil
	}
	if err := s.enter(ctx, now, k.Project.ID); err != nil {
		return nil, err
	}
	if now.Role != k.Role {
		return nil, stream.ErrRights
	}
	return now, nil
}
