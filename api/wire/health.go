package wire

import "time"

// Health says that the process lives.
type Health struct {
	Status string `json:"status" doc:"ok"`
}

// Readiness says that everything answers that requests need.
type Readiness struct {
	Status  string       `json:"status" doc:"ready"`
	Checks  []Check      `json:"checks"`
	Plugins []Plugin     `json:"plugins" doc:"Detail only: a bad plugin takes no more than its own formats away"`
	Policy  PolicyStatus `json:"policy" doc:"Detail only: rules that cannot be put in force leave the last good ones"`
}

// PolicyStatus says which policy rules decide.
type PolicyStatus struct {
	Revision string     `json:"revision"`
	LoadedAt *time.Time `json:"loaded_at" doc:"Since when they decide; null if not known"`
	Problem  string     `json:"problem" doc:"Why newer rules are not in force, empty if there are none"`
}

// Check is one thing that requests need.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
}
