// A real server, real people and a real browser for the tests of the web UI.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const program = resolve(import.meta.dirname, "../../../bin/countersign");
export const password = "correct horse battery";

/** Waits until something holds, for at most a minute. */
export async function eventually(what, holds) {
  const end = Date.now() + 60_000;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > end) throw new Error(`it never came about that ${what}`);
    await new Promise((next) => setTimeout(next, 50));
  }
}

/** Starts countersign dev in a new folder; every person of its sample project can sign in. */
export async function startServer(env = {}) {
  if (!existsSync(program)) throw new Error("bin/countersign is missing: run make build");
  const dir = mkdtempSync(join(tmpdir(), "countersign-web-"));
  const file = join(dir, "bootstrap.json");
  const child = spawn(program, ["dev", "--data", join(dir, "data"), "--listen", "127.0.0.1:0", "--bootstrap", file], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (log += text));
  const ended = new Promise((done) => child.on("exit", done));
  const server = {
    dir,
    log: () => log,
    stop: async () => {
      child.kill("SIGTERM");
      await ended;
      rmSync(dir, { recursive: true, force: true });
    },
    pid: child.pid,
    signal: (name) => child.kill(name),
  };
  await eventually("the server says that it serves", () => {
    if (child.exitCode !== null) throw new Error(`the server ended:\n${log}`);
    return log.includes("serving");
  });
  Object.assign(server, JSON.parse(readFileSync(file, "utf8")));
  server.call = async (who, method, path, body) => {
    const answer = await fetch(server.url + "/api/v1" + path, {
      method,
      headers: { Authorization: `Bearer ${server.api_keys[who]}`, "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text && JSON.parse(text);
  };
  server.project = `/projects/${server.project_id}`;
  server.setPolicy = async (change) => {
    const policy = await server.call("admin", "GET", server.project + "/certificate-policy");
    await server.call("admin", "PUT", server.project + "/certificate-policy", { ...policy, ...change });
  };
  for (const user of (await server.call("admin", "GET", "/users")).items) await server.call("admin", "PATCH", `/users/${user.id}`, { password });
  return server;
}

/** Starts Debian's Chromium, with a fresh profile. */
export async function startBrowser() {
  const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
  if (!executablePath) throw new Error("Chromium is missing: install it (Debian: apt-get install chromium)");
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"],
  });
}

/** A browser of somebody's own. What its page complains of ends the test. */
export async function visit(browser, server, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Berlin", acceptDownloads: true, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && !/status of 4\d\d|net::ERR_/.test(message.text()) && page.complaints.push(message.text()));
  await page.goto(server.url);
  return page;
}

/** A person who signed in. */
export async function signIn(browser, server, username, options = {}) {
  const page = await visit(browser, server, options);
  await page.getByLabel("Username").fill(username);
  await page.getByRole("textbox", { name: "Password" }).fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Certificates" }).waitFor();
  return page;
}

/** Comes back to a tab, which asks who is signed in and finds that nobody is. */
export async function comesBack(page) {
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  const over = page.getByRole("dialog", { name: "Your session ended" });
  await over.waitFor();
  return over;
}
