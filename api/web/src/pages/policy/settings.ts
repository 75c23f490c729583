// What a certificate policy says, setting by setting and in plain words: the form,
// the confirmation and the comparison are all made from this list.
import type { Schemas } from "../../api/client";

type Policy = Schemas["Policy"];

/** A policy without its levels. */
export type Flat = Omit<Policy, "approval"> & Schemas["ApprovalRule"];

export const flat = ({ approval, ...rest }: Policy): Flat => ({ ...rest, ...approval });

export const nested = ({ mode, required_approvals, ttl_seconds, claim_window_seconds, ...rest }: Flat): Policy => ({
  ...rest,
  approval: { mode, required_approvals, ttl_seconds, claim_window_seconds },
});

interface Common {
  name: keyof Flat;
  label: string;
  help: string;
}

export type Setting = Common &
  ({ kind: "switch" } | { kind: "choice"; choices: Record<string, string> } | { kind: "number"; max: number; one: string; many: string } | { kind: "duration"; max: number });

const month = 30 * 86_400;

export const settings: Setting[] = [
  {
    name: "allow_key_export",
    label: "Private keys may be downloaded without approval",
    help: "When you switch this off, links to files with a private key that nobody approved stop working at once.",
    kind: "switch",
  },
  {
    name: "mode",
    label: "Approval is needed for",
    help: "People who did not ask themselves decide on each such request. An approval lets a private key leave even where keys may not leave otherwise.",
    kind: "choice",
    choices: { off: "No download", key_export: "Files that hold the private key", all: "Every file" },
  },
  { name: "required_approvals", label: "How many people must approve", help: "One person's denial ends the request.", kind: "number", max: 64, one: "person", many: "people" },
  { name: "ttl_seconds", label: "Time to approve", help: "A request that is not approved by then lapses.", kind: "duration", max: month },
  { name: "claim_window_seconds", label: "Time to fetch what was approved", help: "Whoever asked makes the download link within this time; after it they must ask again.", kind: "duration", max: month },
  { name: "token_ttl_seconds", label: "Life of a download link", help: "Each link works once, for at most this long.", kind: "duration", max: 3600 },
  {
    name: "min_passphrase_length",
    label: "Shortest passphrase",
    help: "For files that protect the key by a passphrase. 12 characters or more resist guessing well.",
    kind: "number",
    max: 128,
    one: "character",
    many: "characters",
  },
  {
    name: "allow_legacy_encryption",
    label: "Legacy encryption may be used",
    help: "Windows Server 2016, macOS 14 and older cannot import PKCS#12 files without it (3DES and SHA-1, which are weak).",
    kind: "switch",
  },
];

export const units = { seconds: 1, minutes: 60, hours: 3600, days: 86_400 } as const;
export type Unit = keyof typeof units;

/** The largest unit in which a duration is a whole number. */
export function unitOf(seconds: number): Unit {
  const fitting = (Object.keys(units) as Unit[]).filter((unit) => seconds % units[unit] === 0);
  return fitting.at(-1) ?? "seconds";
}

export function duration(seconds: number): string {
  const unit = unitOf(seconds);
  const amount = seconds / units[unit];
  return `${amount} ${amount === 1 ? unit.slice(0, -1) : unit}`;
}

/** The value of a setting, in words. */
export function say(setting: Setting, policy: Flat): string {
  const value = policy[setting.name];
  switch (setting.kind) {
    case "switch":
      return value ? "Yes" : "No";
    case "choice":
      return setting.choices[String(value)] ?? String(value);
    case "number":
      return `${String(value)} ${value === 1 ? setting.one : setting.many}`;
    case "duration":
      return duration(Number(value));
  }
}

/** What is wrong with the value of a setting, undefined if nothing. */
export function problem(setting: Setting, policy: Flat): string | undefined {
  if (setting.kind !== "number" && setting.kind !== "duration") return undefined;
  const value = Number(policy[setting.name]);
  if (Number.isInteger(value) && value >= 1 && value <= setting.max) return undefined;
  return setting.kind === "number" ? `From 1 to ${setting.max} ${setting.many}` : `From 1 second to ${duration(setting.max)}`;
}

export function differing(a: Flat, b: Flat): Setting[] {
  return settings.filter(({ name }) => a[name] !== b[name]);
}

/** What a policy comes to. */
export function effect({ allow_key_export, mode, required_approvals }: Flat): string {
  const approval = required_approvals === 1 ? "somebody else approves" : `${required_approvals} other people approve`;
  if (mode === "all") return `Every download waits until ${approval}.`;
  if (mode === "key_export") return `Files with the private key wait until ${approval}; other files are downloaded at once.`;
  return allow_key_export ? "Operators download every file at once, private keys included." : "Nobody can download a private key; other files are downloaded at once.";
}
