// The formats of the project, and their options.
import { useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { useProject } from "./project";

export type Format = Schemas["Format"];

/** How often pages read the state of the plugins, which no live event announces. */
export const pluginMillis = 10_000;

export function useFormats() {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["formats", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/formats", { params: { path: { pid }, query: { limit: 200 } } })),
    refetchInterval: pluginMillis,
  });
}

export function useFormat(id: string): Format | undefined {
  return useFormats().data?.items?.find((f) => f.id === id);
}

/** An option of a format, as the download dialog shows it. */
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

/** Returns nothing for a pattern that this browser cannot compile: the server checks the value anyway. */
function compile(pattern?: string): RegExp | undefined {
  try {
    return pattern ? new RegExp(pattern, "u") : undefined;
  } catch {
    return undefined;
  }
}

/** The options of a format, read from its JSON Schema. */
export function optionsOf(format: Format): Option[] {
  const properties = (format.options_schema as { properties?: Record<string, Property> }).properties ?? {};
  return Object.entries(properties).flatMap(([name, p]) =>
    p.type === "boolean" || p.type === "string"
      ? [{ name, title: name === "legacy" ? "Legacy encryption" : (p.title ?? name), description: p.description ?? "", kind: p.type, values: (p.enum ?? []).map(String), pattern: compile(p.pattern) }]
      : [],
  );
}
