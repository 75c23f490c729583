// What a person chooses in the download dialog, and what is asked of the server.
import { useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { useProject } from "./project";

export type Format = Schemas["Format"];
export type Target = Schemas["FormatTarget"];

export interface Choice {
  format: string;
  target: string;
  passphrase: string;
  reason: string;
  options: Record<string, unknown>;
}

export const nothing: Choice = { format: "", target: "", passphrase: "", reason: "", options: {} };

/** How often pages look how the plugins are: nothing tells of it. */
export const pluginMillis = 10_000;

/** The formats that there are. */
export function useFormats() {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["formats", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/formats", { params: { path: { pid }, query: { limit: 200 } } })),
    refetchInterval: pluginMillis,
  });
}

export function usePolicy() {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["policy", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/certificate-policy", { params: { path: { pid } } })),
  });
}

/** A property of a format's options, as the dialog can ask for it. */
export interface Option {
  name: string;
  title: string;
  description: string;
  kind: "boolean" | "string";
  values: string[];
  pattern?: RegExp;
}

interface Property {
  type?: string;
  title?: string;
  description?: string;
  enum?: unknown[];
  pattern?: string;
}

/** A pattern that this browser does not know is left to the server. */
function compiled(pattern?: string): RegExp | undefined {
  try {
    return pattern ? new RegExp(pattern, "u") : undefined;
  } catch {
    return undefined;
  }
}

/** The options of a format, from its JSON Schema. */
export function optionsOf(format: Format): Option[] {
  const properties = (format.options_schema as { properties?: Record<string, Property> }).properties ?? {};
  return Object.entries(properties).flatMap(([name, p]) =>
    p.type === "boolean" || p.type === "string"
      ? [{ name, title: name === "legacy" ? "Legacy encryption" : (p.title ?? name), description: p.description ?? "", kind: p.type, values: (p.enum ?? []).map(String), pattern: compiled(p.pattern) }]
      : [],
  );
}

/** Where a file can be imported, each with its format. */
export function destinations(formats: Format[]): { value: string; label: string }[] {
  return formats
    .flatMap((f) => (f.targets ?? []).map((t) => ({ value: `${f.id}/${t.id}`, label: `${t.title} (${f.filename})` })))
    .sort((a, b) => a.label.localeCompare(b.label));
}

/** What no shell takes for anything but a word. */
const plainWord = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** The import command of a target; what is no plain word stays for the person to fill in. */
export function importCommand(target: Target, filename: string, alias: unknown): string {
  const fill = (place: string, word: unknown) => (typeof word === "string" && plainWord.test(word) ? word : place);
  return target.import_command.replaceAll("{file}", () => fill("{file}", filename)).replaceAll("{alias}", () => fill("{alias}", alias));
}

/** The options that differ from saying nothing. */
export function chosenOptions(choice: Choice): Record<string, unknown> {
  return Object.fromEntries(Object.entries(choice.options).filter(([, value]) => value !== "" && value !== false && value !== undefined));
}

/** What came of asking: a token, or an approval that is waited for. */
export type Outcome = { minted: Schemas["Minted"] } | { pending: Schemas["Pending"] };
