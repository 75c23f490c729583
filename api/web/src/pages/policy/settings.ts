// The settings of a certificate policy in words. The form, the confirmation and the
// comparison are generated from this list.
import type { Schemas } from "../../api/client";

type Policy = Schemas["Policy"];

/** A policy whose approval rule is not nested. */
export type FlatPolicy = Omit<Policy, "approval"> & Schemas["ApprovalRule"];

export const flatten = ({ approval, ...rest }: Policy): FlatPolicy => ({ ...rest, ...approval });

export const nest = ({ mode, required_approvals, ttl_seconds, claim_window_seconds, ...rest }: FlatPolicy): Policy => ({
  ...rest,
  approval: { mode, required_approvals, ttl_seconds, claim_window_seconds },
});

interface Common {
  name: keyof FlatPolicy;
  label: string;
  help: string;
}

export type Setting = Common &
  ({ kind: "switch" } | { kind: "choice"; choices: Record<string, string> } | { kind: "number"; max: number; one: string; many: string } | { kind: "duration"; maxSeconds: number });

const hour = 3600;
const day = 24 * hour;

export const settings: Setting[] = [
  {
    name: "allow_key_export",
    label: "Allow key export",
    help: "Lets files with the private key be downloaded without approval. When you switch this off, open links to such files stop working immediately, unless they were approved.",
    kind: "switch",
  },
  {
    name: "mode",
    label: "Require approval for",
    help: "Someone other than the requester must decide. An approved file with the private key can be downloaded even if key export is off.",
    kind: "choice",
    choices: { off: "Nothing", key_export: "Files with the private key", all: "Every file" },
  },
  { name: "required_approvals", label: "Approvals needed", help: "One denial ends the request.", kind: "number", max: 64, one: "person", many: "people" },
  { name: "ttl_seconds", label: "Time to decide", help: "A request that is not approved by then expires.", kind: "duration", maxSeconds: 30 * day },
  { name: "claim_window_seconds", label: "Time to generate the link", help: "The requester generates the link within this time after the approval.", kind: "duration", maxSeconds: 30 * day },
  { name: "token_ttl_seconds", label: "Link lifetime", help: "A link works once, within this time.", kind: "duration", maxSeconds: hour },
  {
    name: "min_passphrase_length",
    label: "Minimum passphrase length",
    help: "For files that a passphrase protects. At least 12 characters are recommended.",
    kind: "number",
    max: 128,
    one: "character",
    many: "characters",
  },
  {
    name: "allow_legacy_encryption",
    label: "Allow legacy encryption",
    help: "3DES and SHA-1, which are weak. Windows Server 2016, macOS 14 and older cannot import PKCS#12 files without it.",
    kind: "switch",
  },
];

export const units = { seconds: 1, minutes: 60, hours: hour, days: day } as const;
export type Unit = keyof typeof units;

/** The largest unit in which a duration is a whole number. */
export function unitOf(seconds: number): Unit {
  const fitting = (Object.keys(units) as Unit[]).filter((unit) => seconds % units[unit] === 0);
  return fitting.at(-1) ?? "seconds";
}

function durationText(seconds: number): string {
  const unit = unitOf(seconds);
  const amount = seconds / units[unit];
  return `${amount} ${amount === 1 ? unit.slice(0, -1) : unit}`;
}

/** The value of a setting as text. */
export function valueText(setting: Setting, policy: FlatPolicy): string {
  const value = policy[setting.name];
  switch (setting.kind) {
    case "switch":
      return value ? "Yes" : "No";
    case "choice":
      return setting.choices[String(value)] ?? String(value);
    case "number":
      return `${String(value)} ${value === 1 ? setting.one : setting.many}`;
    case "duration":
      return durationText(Number(value));
  }
}

/** Says what is wrong with the value of a setting; undefined if it is valid. */
export function validationError(setting: Setting, policy: FlatPolicy): string | undefined {
  if (setting.kind !== "number" && setting.kind !== "duration") return undefined;
  const value = Number(policy[setting.name]);
  const max = setting.kind === "number" ? setting.max : setting.maxSeconds;
  if (Number.isInteger(value) && value >= 1 && value <= max) return undefined;
  return setting.kind === "number" ? `Enter a number from 1 to ${max}.` : `Enter a time from 1 second to ${durationText(max)}.`;
}

/** The settings whose values differ. */
export function differences(a: FlatPolicy, b: FlatPolicy): Setting[] {
  return settings.filter(({ name }) => a[name] !== b[name]);
}

/** What a policy means for downloads, in one sentence. */
export function summary({ allow_key_export, mode, required_approvals }: FlatPolicy): string {
  const approval = `approval by ${required_approvals === 1 ? "one other person" : `${required_approvals} other people`}`;
  if (mode === "all") return `Every download needs ${approval}.`;
  if (mode === "key_export") return `Files with the private key need ${approval}; other files need none.`;
  return allow_key_export ? "Operators can download every file without approval, private keys included." : "Nobody can download a private key; other files need no approval.";
}
