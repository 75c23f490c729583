package wire

import "time"

// User is the account of a person.
type User struct {
	ID                 string    `json:"id"`
	Username           string    `json:"username"`
	Name               string    `json:"name"`
	Email              string    `json:"email"`
	SystemAdmin        bool      `json:"system_admin"`
	Disabled           bool      `json:"disabled"`
	PasswordSetByOther bool      `json:"password_set_by_other" doc:"Another person set the password, and its owner has not changed it since"`
	CreatedAt          time.Time `json:"created_at"`
}

// SignedIn is a browser in which a user is signed in.
type SignedIn struct {
	Address   string    `json:"address" doc:"From which the user signed in; empty if an earlier release did not record it"`
	CreatedAt time.Time `json:"created_at" doc:"When the user signed in"`
	SeenAt    time.Time `json:"seen_at" doc:"When it was used last, to the minute"`
	ExpiresAt time.Time `json:"expires_at" doc:"When it ends, even if it is used"`
}

// UserBody creates a user.
type UserBody struct {
	Username    string `json:"username" doc:"1 to 100 lower-case letters, digits and . _ @ -"`
	Name        string `json:"name,omitempty" maxLength:"200"`
	Email       string `json:"email,omitempty" maxLength:"254"`
	Password    Secret `json:"password,omitempty" minLength:"12" maxLength:"1000" doc:"Kept as an argon2id hash; without one the user cannot sign in with a password"`
	SystemAdmin bool   `json:"system_admin,omitempty"`
}

// Me is the caller. APIKey is null for a session, and Session for an API key.
type Me struct {
	User    User     `json:"user"`
	APIKey  *APIKey  `json:"api_key"`
	Session *Session `json:"session"`
}
