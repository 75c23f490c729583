package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/mattermost"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/rocketchat"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/slack"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/teams"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/gotify"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/ntfy"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/pushover"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/countersign-dev/countersign/engine"
)

// service makes a chat service from its URL. All its requests go through client.
type service func(u *url.URL, client *http.Client) (send func(text string) error, err error)

// services are the accepted schemes beside https and smtp. Each of them uses the
// client given to it (checked in shoutrrr v0.13.2); shoutrrr's other services use
// http.DefaultClient or a client of their own, which would bypass [publicDialer].
// Slack and Teams do so too: only their URL and message format are shoutrrr's.
var services = map[string]service{
	"slack": sendSlack,
	"teams": sendTeams,
	"discord": func(u *url.URL, client *http.Client) (func(string) error, error) {
		s := &discord.Service{}
		err := s.Initialize(u, nil)
		s.HTTPClient, s.Sleeper = client, noRetry{}
		return sending(s), err
	},
	"mattermost": func(u *url.URL, client *http.Client) (func(string) error, error) {
		s := &mattermost.Service{}
		err := s.Initialize(u, nil)
		if err == nil {
			*s.GetHTTPClient() = *client
		}
		return sending(s), err
	},
	"rocketchat": func(u *url.URL, client *http.Client) (func(string) error, error) {
		s := &rocketchat.Service{Client: client}
		return sending(s), s.Initialize(u, nil)
	},
	"gotify": func(u *url.URL, client *http.Client) (func(string) error, error) {
		s := &gotify.Service{}
		err := s.Initialize(u, nil)
		if err == nil {
			*s.GetHTTPClient() = *client
		}
		return sending(s), err
	},
	"ntfy": func(u *url.URL, client *http.Client) (func(string) error, error) {
		s := &ntfy.Service{}
		err := s.Initialize(u, nil)
		s.SetHTTPClient(client)
		return sending(s), err
	},
	"pushover": func(u *url.URL, client *http.Client) (func(string) error, error) {
		s := &pushover.Service{}
		err := s.Initialize(u, nil)
		s.Client = client
		return sending(s), err
	},
}

func schemes() []string {
	return append([]string{"https", "smtp"}, slices.Sorted(maps.Keys(services))...)
}

// noRetry lets a service return at once, because the workflow retries.
type noRetry struct{}

func (noRetry) Sleep(time.Duration) {}

func sending(s types.Sender) func(string) error {
	return func(text string) error { return s.Send(text, &types.Params{}) }
}

// sendService sends through one of the services. Some of them panic on a URL of
// another service, which must not end the process.
func sendService(client *http.Client, u *url.URL, n engine.Notification) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the chat service cannot read the URL")
		}
	}()
	send, err := services[u.Scheme](u, client)
	if err != nil {
		return err
	}
	return send(chatText(n))
}

// slackAPI gets the messages of a URL with a bot's token instead of a webhook's.
const slackAPI = "https://slack.com/api/chat.postMessage"

func sendSlack(u *url.URL, client *http.Client) (func(string) error, error) {
	config, err := slack.CreateConfigFromURL(u)
	if err == nil {
		_, err = slack.ParseToken(config.Token.String()) // CreateConfigFromURL accepts a malformed token
	}
	return func(text string) error {
		body, err := json.Marshal(slack.CreateJSONPayload(config, text))
		if err != nil {
			return fmt.Errorf("encode message: %w", err)
		}
		if !config.Token.IsAPIToken() {
			return postJSON(client, config.Token.WebhookURL(), body, nil, nil)
		}
		return postJSON(client, slackAPI, body, http.Header{"Authorization": {config.Token.Authorization()}}, func(answer *json.Decoder) error {
			var reply slack.APIResponse
			if err := answer.Decode(&reply); err != nil || !reply.Ok {
				return errNotAccepted
			}
			return nil
		})
	}, err
}

func sendTeams(u *url.URL, client *http.Client) (func(string) error, error) {
	config := &teams.Config{}
	err := config.SetURL(u)
	return func(text string) error {
		to := teams.BuildWebhookURL(config.Host, config.Group, config.Tenant, config.AltID, config.GroupOwner, config.ExtraID)
		if err := teams.ValidateWebhookURL(to); err != nil {
			return err
		}
		body, err := json.Marshal(map[string]any{
			"@type": "MessageCard", "@context": "http://schema.org/extensions", "markdown": false,
			"title": config.Title, "themeColor": config.Color, "summary": firstLine(text), "text": paragraphs(text),
		})
		if err != nil {
			return fmt.Errorf("encode message: %w", err)
		}
		return postJSON(client, to, body, nil, nil)
	}, err
}
