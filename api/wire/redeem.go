package wire

// RedeemBody has the token, for callers who do not want it in a URL.
type RedeemBody struct {
	Token Secret `json:"token"`
}
