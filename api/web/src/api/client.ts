// The client of the API, made from its own OpenAPI document (schema.d.ts).
import createClient, { type Middleware } from "openapi-fetch";
import { unattended } from "../attended";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

/** An error as the API answers it (RFC 9457), or a server that does not answer. */
export class ProblemError extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly remedies: string[];
  constructor(status: number, problem: { code?: string; title?: string; detail?: string; remedies?: unknown }) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.code = problem.code ?? "";
    this.title = problem.title ?? "Something went wrong";
    this.remedies = Array.isArray(problem.remedies) ? problem.remedies.filter((r) => typeof r === "string") : [];
  }
}

/** What proves to the server that our pages make a change; known once signed in. */
let forgeryToken = "";
export function setForgeryToken(token: string) {
  forgeryToken = token;
}

/** Called when the server no longer knows who calls. */
let onSignedOut = () => {};
export function whenSignedOut(then: () => void) {
  onSignedOut = then;
}

/** Called when the server does not answer. */
let onUnreachable = () => {};
export function whenUnreachable(then: () => void) {
  onUnreachable = then;
}

/** The server gives up after 10 seconds: one that says nothing for longer is not there. */
const timeoutMillis = 15_000;

const middleware: Middleware = {
  onRequest({ request }) {
    if (request.method !== "GET" && forgeryToken) request.headers.set("X-CSRF-Token", forgeryToken);
    if (unattended()) request.headers.set("X-Unattended", "1");
    // A file that is on its way is not cut off: its link is good only once.
    if (request.url.endsWith("/v1/downloads")) return request;
    return new Request(request, { signal: AbortSignal.timeout(timeoutMillis) });
  },
  async onResponse({ request, response }) {
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    if (response.status === 401 && !request.url.endsWith("/session")) onSignedOut();
    throw new ProblemError(response.status, problem);
  },
  onError({ error }) {
    if (error instanceof ProblemError) return error;
    onUnreachable();
    return new ProblemError(0, { code: "unreachable", title: "No connection", detail: "The server does not answer. Check the connection and try again." });
  },
};

export const api = createClient<paths>({ baseUrl: "/", cache: "no-store" });
api.use(middleware);

/** What a call answered; every failure was thrown as a ProblemError. */
export async function answer<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}
