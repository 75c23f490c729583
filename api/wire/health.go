package wire

import "time"

// Health says that the process is running, or that it can serve requests.
type Health struct {
	Status string `json:"status" doc:"ok or ready"`
}

// Readiness says to operators that all services that requests need answer.
type Readiness struct {
	Status  string       `json:"status" doc:"ready"`
	Checks  []Check      `json:"checks"`
	Plugins []Plugin     `json:"plugins" doc:"Information only: if a plugin fails, only its own formats are missing"`
	Policy  PolicyStatus `json:"policy" doc:"Information only: while new rules are not valid, the last valid ones stay active"`
	Nodes   []Node       `json:"nodes" doc:"Information only: the other nodes of this installation"`
	TLS     *TLSStatus   `json:"tls" doc:"Information only: the certificate of this server; null if it speaks HTTP"`
}

// TLSStatus says which certificate the server shows to its callers.
type TLSStatus struct {
	Serial   string    `json:"serial" doc:"In hexadecimal"`
	NotAfter time.Time `json:"not_after"`
	Problem  string    `json:"problem" doc:"Why the files of now are not used; empty if they are"`
}

// Node is another process of the installation.
type Node struct {
	ID      string    `json:"id"`
	Host    string    `json:"host"`
	SeenAt  time.Time `json:"seen_at"`
	Differs []string  `json:"differs" doc:"Settings that it has otherwise than this node; clock if its clock is ahead"`
}

// PolicyStatus says which policy rules are active.
type PolicyStatus struct {
	Revision string     `json:"revision"`
	LoadedAt *time.Time `json:"loaded_at" doc:"When the rules became active; null if not known"`
	Problem  string     `json:"problem" doc:"Why newer rules are not active; empty if there are none"`
}

// Check is a service that requests need.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
}
