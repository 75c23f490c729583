// What the user chooses in the download dialog.
import type { Schemas } from "../../api/client";
import type { Format } from "../../hooks/formats";

export interface Choice {
  format: string;
  /** The import target, as format/target; empty if the user chose a format by hand. */
  target: string;
  passphrase: string;
  reason: string;
  options: Record<string, unknown>;
}

export const emptyChoice: Choice = { format: "", target: "", passphrase: "", reason: "", options: {} };

/** What the server answered: a link, or a request that waits for approval. */
export type Outcome = { minted: Schemas["Minted"] } | { pending: Schemas["Pending"] };

/** Every import target of the formats, as choices of a field. */
export function targetChoices(formats: Format[]): { value: string; label: string }[] {
  return formats
    .flatMap((f) => (f.targets ?? []).map((t) => ({ value: `${f.id}/${t.id}`, label: `${t.title} (${f.filename})` })))
    .sort((a, b) => a.label.localeCompare(b.label));
}

/** The options whose value differs from the default. */
export function chosenOptions(options: Choice["options"]): Choice["options"] {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== "" && value !== false && value !== undefined));
}

/** A word that every shell takes literally. */
const shellSafe = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** The import command of a target. A name that a shell could interpret is left as a placeholder for the user to fill in. */
export function importCommand(target: Schemas["FormatTarget"], filename: string, alias: unknown): string {
  const fill = (placeholder: string, value: unknown) => (typeof value === "string" && shellSafe.test(value) ? value : placeholder);
  return target.import_command.replaceAll("{file}", () => fill("{file}", filename)).replaceAll("{alias}", () => fill("{alias}", alias));
}
