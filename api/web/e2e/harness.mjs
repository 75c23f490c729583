// A real server, its users, and a real browser for the tests of the web UI.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const program = resolve(import.meta.dirname, "../../../bin/countersign");
export const password = "correct horse battery";
const firstPassword = "given by somebody else";

/** Waits until a condition holds, for at most a minute. */
export async function eventually(what, condition) {
  const end = Date.now() + 60_000;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > end) throw new Error(`waited for a minute in vain until ${what}`);
    await new Promise((next) => setTimeout(next, 50));
  }
}

/** Starts countersign dev, with its sample project and sample users, in a new folder. */
export async function startServer() {
  if (!existsSync(program)) throw new Error("bin/countersign is missing: run make build");
  const dir = mkdtempSync(join(tmpdir(), "countersign-web-"));
  const file = join(dir, "bootstrap.json");
  const child = spawn(program, ["dev", "--data", join(dir, "data"), "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file], { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (log += text));
  const ended = new Promise((done) => child.on("exit", done));
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
    rmSync(dir, { recursive: true, force: true });
  };
  await eventually("the server serves", () => {
    if (child.exitCode !== null) throw new Error(`the server ended:\n${log}`);
    return log.includes("serving");
  }).catch(async (error) => {
    await stop();
    throw error;
  });
  const server = {
    ...JSON.parse(readFileSync(file, "utf8")),
    dir,
    pid: child.pid,
    signal: (name) => child.kill(name),
    stop,
  };
  server.api_keys.system = server.system_api_key;
  server.project = `/projects/${server.project_id}`;
  server.call = async (username, method, path, body) => {
    const response = await fetch(server.url + "/api/v1" + path, {
      method,
      headers: { Authorization: `Bearer ${server.api_keys[username]}`, "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text && JSON.parse(text);
  };
  server.setPolicy = async (change) => {
    const policy = await server.call("admin", "GET", server.project + "/certificate-policy");
    await server.call("admin", "PUT", server.project + "/certificate-policy", { ...policy, ...change });
  };
  return Object.assign(server, accounts(server));
}

/** Gives users a password and signs them in, each only once, because hashing passwords is slow by design. */
function accounts(server) {
  const withPassword = new Set();
  const cookies = new Map();
  const usable = async (cookie) => cookie && (await fetch(server.url + "/api/v1/me", { headers: { Cookie: cookie } })).ok;
  return {
    /** Gives a sample user a password and has the user change it, so that they can sign in through the form and decide on approvals. */
    async setPassword(username) {
      if (withPassword.has(username)) return;
      const user = (await server.call("system", "GET", "/users?limit=200")).items.find((u) => u.username === username);
      await server.call("system", "PATCH", `/users/${user.id}`, { password: firstPassword });
      const post = (method, path, body, headers) => fetch(`${server.url}/api/v1${path}`, { method, headers, body: JSON.stringify(body) });
      const session = await post("POST", "/session", { username, password: firstPassword });
      const headers = { Cookie: session.headers.get("set-cookie").split(";")[0], "X-CSRF-Token": (await session.json()).csrf_token };
      const changed = await post("PUT", "/me/password", { current_password: firstPassword, new_password: password }, headers);
      if (!changed.ok) throw new Error(`change the password of ${username}: ${changed.status} ${await changed.text()}`);
      withPassword.add(username);
    },
    /** Signs a user in and returns the session's cookie: that of an earlier call if it is still valid, unless a fresh one is asked for. */
    async cookie(username, fresh = false) {
      if (!fresh && (await usable(cookies.get(username)))) return cookies.get(username);
      await server.setPassword(username);
      const response = await fetch(`${server.url}/api/v1/session`, { method: "POST", body: JSON.stringify({ username, password }) });
      if (!response.ok) throw new Error(`sign in ${username}: ${response.status} ${await response.text()}`);
      cookies.set(username, response.headers.get("set-cookie").split(";")[0]);
      return cookies.get(username);
    },
  };
}

/** Starts Debian's Chromium with a new profile. */
export async function startBrowser() {
  const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
  if (!executablePath) throw new Error("Chromium is missing: install it (Debian: apt-get install chromium)");
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"],
  });
}

/**
 * Opens a page in a browser context of its own. Errors of the page are collected in
 * page.complaints. Without motion, no test waits for a dialog to fade.
 */
export async function visit(browser, server, { cookie, initScript, at = "/", ...options } = {}) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Berlin", acceptDownloads: true, reducedMotion: "reduce", ...options });
  if (cookie) {
    const [name, value] = cookie.split("=");
    await context.addCookies([{ name, value, url: server.url }]);
  }
  if (initScript) await context.addInitScript(...initScript);
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && !/status of \d+|net::ERR_/.test(message.text()) && page.complaints.push(message.text()));
  page.on("response", async (response) => response.status() >= 500 && page.complaints.push(`${response.status()} ${response.url()} ${await response.text().catch(() => "")}`));
  await page.goto(server.url + at);
  return page;
}

/** Opens the certificates of the sample project as a user. The session is shared with the user's other pages unless a fresh one is asked for. */
export async function signIn(browser, server, username, { fresh, ...options } = {}) {
  const page = await visit(browser, server, { cookie: await server.cookie(username, fresh), at: `${server.project}/certificates`, ...options });
  await page.getByRole("heading", { name: "Certificates", level: 1 }).waitFor();
  return page;
}

/** Ends every session of a user. */
export async function endSessions(server, username) {
  const cookie = await server.cookie(username);
  const { session } = await (await fetch(`${server.url}/api/v1/me`, { headers: { Cookie: cookie } })).json();
  const response = await fetch(`${server.url}/api/v1/sessions`, { method: "DELETE", headers: { Cookie: cookie, "X-CSRF-Token": session.csrf_token } });
  if (!response.ok) throw new Error(`end the sessions of ${username}: ${response.status} ${await response.text()}`);
}

/** Returns to a tab whose session has ended: the page asks who is signed in, and shows the sign-in dialog. */
export async function returnTo(page) {
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  const dialog = page.getByRole("dialog", { name: "Your session has ended" });
  await dialog.waitFor();
  return dialog;
}

/** Fails if a page reported an error. */
export function assertNoComplaints(...pages) {
  const complaints = pages.flatMap((page) => page.complaints);
  if (complaints.length > 0) throw new Error(`errors of the page:\n${complaints.join("\n")}`);
}
