package notify

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// sendWebhook posts the notification as JSON, signed as Standard Webhooks 1.0
// specifies: HMAC-SHA256 of "id.timestamp.body" under the bytes behind "whsec_".
func sendWebhook(client *http.Client, u *url.URL, signing engine.Secret, n engine.Notification, now time.Time) error {
	body, err := json.Marshal(struct {
		Type string              `json:"type"`
		Time time.Time           `json:"timestamp"`
		Data engine.Notification `json:"data"`
	}{string(n.Event), n.Time, n})
	if err != nil {
		return fmt.Errorf("encode notification: %w", err)
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	signature, err := sign(signing, n.ID, timestamp, body)
	if err != nil {
		return err
	}
	return postJSON(client, u.String(), body, http.Header{
		"Webhook-Id": {n.ID}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature},
	}, nil)
}

// dryRunSecret signs a request that is never sent.
const dryRunSecret = engine.Secret("whsec_AAAA")

func sign(secret engine.Secret, id, timestamp string, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret.Reveal(), "whsec_"))
	if err != nil || len(key) == 0 {
		return "", errors.New("the target's signing secret is not valid base64; make the target again")
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.", id, timestamp) // a hash never fails
	_, _ = mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

var errNotAccepted = errors.New("the message was not accepted")

// postJSON posts a body. An answer with status 2xx is accepted, unless check finds
// an error in it.
func postJSON(client *http.Client, url string, body []byte, header http.Header, check func(*json.Decoder) error) (err error) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body)) //nolint:noctx // the client's attempt adds it
	if err != nil {
		return err
	}
	if header != nil {
		req.Header = header
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Countersign")
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	if answer.StatusCode/100 != 2 {
		return errNotAccepted
	}
	if check != nil {
		return check(json.NewDecoder(answer.Body))
	}
	return nil
}
