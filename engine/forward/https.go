package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/countersign-dev/countersign/engine"
)

// HTTPS posts entries to a URL, one on each line. Each answer from 200 to 299 acknowledges
// all entries of its call; a redirect does not. All fields but Authorization must be set.
type HTTPS struct {
	URL           *url.URL
	Authorization func() (string, error) // the header of the next call
	TLS           TLS
	Encode        Encoding
	MediaType     string
}

// ParseURL checks the URL of an endpoint.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("the URL must begin with https:// and have a host, no user and no fragment; put a credential into a file") // it may have a secret
	}
	return u, nil
}

// Receive implements [engine.AuditReceiver].
func (h *HTTPS) Receive(ctx context.Context, entries []engine.AuditEntry) error {
	text, err := h.Encode.lines(entries)
	if err != nil {
		return err
	}
	call, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL.String(), bytes.NewReader(text))
	if err != nil {
		return err
	}
	call.Header.Set("Content-Type", h.MediaType)
	call.Header.Set("User-Agent", "countersign")
	if h.Authorization != nil {
		value, err := h.Authorization()
		if err != nil {
			return err
		}
		call.Header.Set("Authorization", value)
	}
	config, err := h.TLS()
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(call)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		err = failed.Err // without the URL, which may have a secret
	}
	if err != nil {
		return err
	}
	_ = answer.Body.Close() // its status says all
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("the answer has the status %d", answer.StatusCode)
	}
	return nil
}

// String implements [engine.AuditReceiver]. The rest of the URL may have a secret.
func (h *HTTPS) String() string { return "https://" + h.URL.Host }
