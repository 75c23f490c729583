package wire

import "time"

// NotificationTarget is where a project sends notifications.
type NotificationTarget struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	URL       string    `json:"url" doc:"Scheme and host; the rest is secret and never shown"`
	Events    []string  `json:"events"`
	Personal  bool      `json:"personal" doc:"It writes to the people whom an event concerns, one by one"`
	CreatedBy Actor     `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}

// NewNotificationTarget is a target at the one moment its secret is told.
type NewNotificationTarget struct {
	NotificationTarget
	SigningSecret *Secret `json:"signing_secret" doc:"Shown once; null for what is no webhook. Webhooks are signed as Standard Webhooks 1.0 has it."`
}

// NotificationTargetBody makes a target.
type NotificationTargetBody struct {
	Name   string   `json:"name"`
	URL    Secret   `json:"url" doc:"https://… for a signed webhook; smtp://user:password@host:port/?fromaddress=… for mail, with toaddresses=… unless the people concerned are to be written to; slack, teams, discord, mattermost, rocketchat, ntfy, gotify and pushover as shoutrrr has them"`
	Events []string `json:"events" doc:"approval.requested, approval.reminder, approval.decided, approval.expired, token.reused"`
}

// NotificationTest says what came of a test message.
type NotificationTest struct {
	Sent    bool   `json:"sent"`
	Problem string `json:"problem" doc:"What was wrong; empty when it was sent"`
}
