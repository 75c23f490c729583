package wire

import "time"

// SignInBody signs a person in.
type SignInBody struct {
	Username string `json:"username" minLength:"1" maxLength:"100"`
	Password Secret `json:"password" minLength:"1" maxLength:"1000"`
}

// Session is a browser in which a user signed in.
type Session struct {
	User        User      `json:"user"`
	CSRFToken   Secret    `json:"csrf_token" doc:"Send it in the header X-CSRF-Token of each call that changes something"`
	ExpiresAt   time.Time `json:"expires_at" doc:"When the session ends at the latest"`
	IdleSeconds int       `json:"idle_seconds" doc:"Seconds without use after which the session ends"`
}

// PasswordBody replaces the caller's password.
type PasswordBody struct {
	Current Secret `json:"current_password" minLength:"1" maxLength:"1000"`
	New     Secret `json:"new_password" minLength:"12" maxLength:"1000"`
}

// UserChangeBody changes a user; members that are left out stay as they are.
type UserChangeBody struct {
	Disabled    *bool   `json:"disabled,omitempty"`
	Password    *Secret `json:"password,omitempty" minLength:"12" maxLength:"1000"`
	SystemAdmin *bool   `json:"system_admin,omitempty"`
}
