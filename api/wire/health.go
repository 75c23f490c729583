package wire

// Health says that the process lives.
type Health struct {
	Status string `json:"status" doc:"ok"`
}

// Readiness says that everything answers that requests need.
type Readiness struct {
	Status  string   `json:"status" doc:"ready"`
	Checks  []Check  `json:"checks"`
	Plugins []Plugin `json:"plugins" doc:"Detail only: a bad plugin takes no more than its own formats away"`
}

// Check is one thing that requests need.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
}
