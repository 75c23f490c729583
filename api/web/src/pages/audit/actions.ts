// What the actions in the audit log are called.
const labels: Record<string, string> = {
  "cert.downloaded": "File downloaded",
  "cert.imported": "Certificate imported",
  "download.requested": "Download requested",
  "download.refused": "Download refused",
  "download.interrupted": "Download interrupted",
  "download.cancelled": "Request cancelled",
  "download.expired": "Approved request expired",
  "approval.approved": "Request approved",
  "approval.denied": "Request denied",
  "approval.expired": "Approval expired",
  "token.issued": "Link generated",
  "token.revoked": "Link revoked",
  "token.expired": "Link expired",
  "token.reuse_notified": "Second use of a link reported",
  "access.refused": "Access refused",
  "policy.updated": "Policy changed",
  "member.updated": "Member added or role changed",
  "member.removed": "Member removed",
  "api_key.created": "API key created",
  "api_key.revoked": "API key revoked",
  "project.created": "Project created",
  "notification_target.created": "Notification target created",
  "notification_target.deleted": "Notification target deleted",
  "notification_target.tested": "Notification target tested",
  "user.created": "User created",
  "user.changed": "User changed",
  "user.password_set": "Password changed",
  "session.opened": "Signed in",
  "session.closed": "Signed out",
  "session.closed_everywhere": "Signed out everywhere",
  "login.failed": "Sign-in failed",
  "plugin.reloaded": "Plugin reloaded",
};

export const actionLabel = (action: string) => labels[action] ?? action;

export const actionChoices = Object.entries(labels).map(([value, label]) => ({ value, label }));
