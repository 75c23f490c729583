package api

import (
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/countersign-dev/countersign/api/wire"
)

// OperatorServer is the server for operators: /metrics, /healthz, and /readyz and
// its parts with their details. It asks for no credential, so its listener must be reachable by operators
// only. On a loopback address it answers only under the names of loopback addresses,
// because a page of another site can reach those through a browser (DNS rebinding).
func (s *Server) OperatorServer() *http.Server {
	pages := http.NewServeMux()
	pages.Handle("GET /metrics", promhttp.HandlerFor(s.options.Registry, promhttp.HandlerOpts{Registry: s.options.Registry}))
	pages.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, "application/json", wire.Health{Status: "ok"})
	})
	for _, part := range []string{toServe, toRedeem, toMint} {
		pages.HandleFunc("GET "+part, func(w http.ResponseWriter, r *http.Request) {
			readiness, err := s.readiness(r.Context(), part)
			if err != nil {
				s.operatorProblem(w, err)
				return
			}
			writeJSON(w, http.StatusOK, "application/json", readiness)
		})
	}
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, h := range headers {
				w.Header().Set(h[0], h[1])
			}
			if err := checkOperatorHost(r); err != nil {
				s.operatorProblem(w, err)
				return
			}
			pages.ServeHTTP(w, r)
		}),
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHead,
	}
}

func checkOperatorHost(r *http.Request) error {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if at, ok := local.(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		return nil
	}
	_, loopback, err := hostName(r.Host)
	if err == nil && !loopback {
		err = errMisdirected
	}
	return err
}

func (s *Server) operatorProblem(w http.ResponseWriter, err error) {
	p := problemOf(err, strings.ToLower(rand.Text()))
	writeJSON(w, p.Status, wire.ProblemMediaType, p)
}

func writeJSON(w http.ResponseWriter, status int, mediaType string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // it is text, numbers and lists of them
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	_, _ = w.Write(text) // the caller may have gone
}
