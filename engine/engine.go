// Package engine is the domain of Countersign: certificates and private keys
// that leave by request, under policy, once, and on record.
//
// Start with [Downloads], the use cases in the order of a request's life:
// Mint, Decide, Redeem, Conclude. [Request] and [Token] hold the state rules,
// [AuditEntry] the hash chain, [Error] every way to refuse. [Notifications] tells
// people outside. [Store], [Policy], [Formats], [Keys], [Workflows] and
// [Notifier] are the ports; the packages below this one and beside it implement
// them.
//
// The package promises:
//   - of N callers with one token exactly one receives the file;
//   - a delivered file was on record before its first byte;
//   - a failed render, a look at the headers or a refusal never burns a token;
//   - tokens, passphrases and key bytes are never part of an error, a log
//     record or a stored document in clear.
//
// It imports the standard library only.
package engine
