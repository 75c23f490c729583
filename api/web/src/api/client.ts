// The client of the API, made from its own OpenAPI document (schema.d.ts).
import createClient, { type Middleware } from "openapi-fetch";
import { unattended } from "../hooks/idle";
import { setClock } from "../hooks/clock";
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

const listeners = {
  /** The server no longer knows who calls. */
  signedOut: () => {},
  /** The server does not answer. */
  unreachable: () => {},
  /** The session is another than the proof's: somebody signed in with another tab. Tells whether it is the same person's. */
  renewed: async () => false,
};

/** Says what happens then; each is one place's. */
export function on(told: Partial<typeof listeners>) {
  Object.assign(listeners, told);
}

/** The server gives up after 10 seconds: one that says nothing for longer is not there. */
const timeoutMillis = 15_000;

/** A file that is on its way is not cut off: its link is good only once. Nor is the reading of a whole log. */
const takeTheirTime = /\/v1\/downloads$|\/verify$/;

async function send(request: Request): Promise<Response> {
  const changes = request.method !== "GET";
  const again = changes ? request.clone() : null;
  const response = await attempt(request);
  const forged = again && response.status === 403 && (await response.clone().json().catch(() => ({}))).code === "cross_site_request";
  return forged && (await listeners.renewed()) ? attempt(again) : response;
}

async function attempt(request: Request): Promise<Response> {
  if (request.method !== "GET" && forgeryToken) request.headers.set("X-CSRF-Token", forgeryToken);
  if (unattended()) request.headers.set("X-Unattended", "1");
  const response = await fetch(request, takeTheirTime.test(request.url) ? {} : { signal: AbortSignal.timeout(timeoutMillis) });
  setClock(response.headers.get("Date"));
  return response;
}

const middleware: Middleware = {
  async onResponse({ request, response }) {
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    if (response.status === 401 && !request.url.endsWith("/session")) listeners.signedOut();
    throw new ProblemError(response.status, problem);
  },
  onError({ error }) {
    if (error instanceof ProblemError) return error;
    listeners.unreachable();
    return new ProblemError(0, { code: "unreachable", title: "No connection", detail: "The server does not answer. Check the connection and try again." });
  },
};

export const api = createClient<paths>({ baseUrl: "/", cache: "no-store", fetch: send });
api.use(middleware);

/** What a call answered; every failure was thrown as a ProblemError. */
export async function answer<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}
