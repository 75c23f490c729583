package wire

import "time"

// NotificationTarget is where a project sends notifications.
type NotificationTarget struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	URL       string    `json:"url" doc:"Scheme and host; the rest is secret and is never shown"`
	Events    []string  `json:"events"`
	Personal  bool      `json:"personal" doc:"Each message is sent separately to each user whom the event concerns"`
	CreatedBy Actor     `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}

// NewNotificationTarget is a new target with its secret, which no other answer has.
type NewNotificationTarget struct {
	NotificationTarget
	SigningSecret *Secret `json:"signing_secret" doc:"Shown once; null unless the target is a webhook. Webhooks are signed by Standard Webhooks 1.0."`
}

// NotificationTargetBody creates a target.
type NotificationTargetBody struct {
	Name   string   `json:"name"`
	URL    Secret   `json:"url" doc:"https://… for a signed webhook; smtp://user:password@host:port/?fromaddress=… for mail, with toaddresses=… unless personal is true; slack, teams, discord, mattermost, rocketchat, ntfy, gotify and pushover in the form of shoutrrr"`
	Events []string `json:"events" doc:"approval.requested, approval.reminder, approval.decided, approval.expired, token.reused"`
}

// NotificationTest is the result of a test message.
type NotificationTest struct {
	Sent    bool   `json:"sent"`
	Problem string `json:"problem" doc:"Why it failed; empty if it was sent"`
}
