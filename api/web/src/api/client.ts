// The client of the API. Its types (schema.d.ts) are generated from the API's
// OpenAPI document.
import createClient, { type Middleware } from "openapi-fetch";
import { setClock } from "../hooks/clock";
import { isIdle } from "../hooks/idle";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

/** A problem that the API answers (RFC 9457), or status 0 if the server does not answer. */
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

/** Proves to the server that our own pages send a change; empty until the user has signed in. */
let csrfToken = "";
export function setCSRFToken(token: string) {
  csrfToken = token;
}

const handlers = {
  /** The session has ended. */
  onSignedOut: () => {},
  /** The server does not answer. */
  onUnreachable: () => {},
  /** The CSRF token belongs to an earlier session, because the user signed in again in another tab. Returns whether the user is still the same. */
  renewCSRFToken: async () => false,
};

/** Sets what happens on these occasions; each handler belongs to one component. */
export function setHandlers(some: Partial<typeof handlers>) {
  Object.assign(handlers, some);
}

/** The server gives up after 10 seconds, so one that is silent for longer does not answer. */
const timeoutMillis = 15_000;

/** These have no time limit: a link delivers its file only once, and verifying reads the whole log. */
const withoutTimeout = /\/v1\/downloads$|\/verify$/;

async function send(request: Request): Promise<Response> {
  const copy = request.method !== "GET" ? request.clone() : null;
  const response = await sendOnce(request);
  const csrfRefused = copy && response.status === 403 && (await response.clone().json().catch(() => ({}))).code === "cross_site_request";
  return csrfRefused && (await handlers.renewCSRFToken()) ? sendOnce(copy) : response;
}

async function sendOnce(request: Request): Promise<Response> {
  if (request.method !== "GET" && csrfToken) request.headers.set("X-CSRF-Token", csrfToken);
  if (isIdle()) request.headers.set("X-Client-Idle", "1");
  const response = await fetch(request, withoutTimeout.test(request.url) ? {} : { signal: AbortSignal.timeout(timeoutMillis) });
  setClock(response.headers.get("Date"));
  return response;
}

const middleware: Middleware = {
  async onResponse({ request, response }) {
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    if (response.status === 401 && !request.url.endsWith("/session")) handlers.onSignedOut();
    throw new ProblemError(response.status, problem);
  },
  onError({ error }) {
    if (error instanceof ProblemError) return error;
    handlers.onUnreachable();
    return new ProblemError(0, { code: "unreachable", title: "No connection", detail: "The server does not answer. Check the connection and try again." });
  },
};

export const api = createClient<paths>({ baseUrl: "/", cache: "no-store", fetch: send });
api.use(middleware);

/** Returns the body that a call answered; every failure is thrown as a ProblemError. */
export async function answer<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}
