// Package engine is the domain of Countersign: certificates and private keys that
// leave by request, under policy, once, with every step in the audit log.
//
// Start with [Downloads], which holds what callers do, and [Transitions], which
// holds what a request's workflow does; both follow the life of a [Request]. [Token]
// and [Settlement] hold the rules of single use, [AuditEntry] the hash chain, [Error]
// and [Code] every way to refuse. [Admin] and [Authentication] are the use cases of
// administrators and of signing in, and [Notifications] notifies people. [Store],
// [Policy], [Formats], [Keys], [Workflows] and [Notifier] are the ports; the packages
// below and beside this one implement them.
//
// The package promises:
//   - of N callers with one token exactly one receives the file;
//   - a delivered file was recorded before its first byte was sent;
//   - a failed render, a HEAD request or a refusal never consumes a token;
//   - tokens, passphrases and private keys are never part of an error, a log message
//     or a stored document in clear.
//
// It imports the standard library only.
//
// # Glossary
//
// Each word has one meaning, in code, API, UI and logs.
//
//   - request: one person's wish to download one certificate in one format; the
//     caller mints it.
//   - requester: the person who made a request. Person means the user behind a
//     session or an API key.
//   - policy: the project's settings and the Rego rules. Its verdict on a request is
//     allow, approval or deny.
//   - approval: what approvers decide on before a request is allowed. Each approver
//     has one vote, approve or deny; the quorum is how many must approve.
//   - claim: the requester of an approved request fetches its token, within the claim
//     window. A repeated claim revokes the token before it.
//   - token: the secret, used once, by which a file is fetched. It is issued, and then
//     settled: consumed, revoked or expired. The settlement is the record of that.
//   - redeem: to present a token and get the file; the token is then consumed.
//   - cancel: the requester ends a request that waits. Revoke: the requester or an
//     admin ends a token. Expire: time ends a request or a token.
//   - transition: one change of a request's state, computed and stored as a whole by
//     the request's workflow.
//   - format: a kind of file, with its options. A plugin renders the formats that it
//     declares; the catalogue lists the plugins that may run.
//   - audit log: per project, a chain of audit entries. The timeline of a certificate
//     has the events that happened to it.
//   - dispatch: to start the delivery of a notification to a project's targets.
//   - to seal: to encrypt for storage. A keeper wraps the data keys that seal.
package engine
