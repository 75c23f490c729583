package wire

import "time"

// Project owns certificates, members, API keys, a policy and an audit chain. Role is
// the caller's role in it.
type Project struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	CreatedAt time.Time `json:"created_at"`
}

// ProjectBody creates a project.
type ProjectBody struct {
	Name string `json:"name"`
}

// Member is a person with a role in a project.
type Member struct {
	UserID    string    `json:"user_id"`
	Username  string    `json:"username"`
	Name      string    `json:"name"`
	Role      string    `json:"role" doc:"viewer, operator, approver or admin"`
	Disabled  bool      `json:"disabled" doc:"Whether the user is disabled: every call of the user is refused"`
	CreatedAt time.Time `json:"created_at" doc:"When the role was given"`
}

// MemberBody gives a person a role.
type MemberBody struct {
	Role string `json:"role" doc:"viewer, operator, approver or admin"`
}
