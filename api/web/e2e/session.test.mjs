// Sessions: several tabs of one browser, a session that ends under what somebody is
// doing, and tabs that nobody looks at or touches.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { comesBack, eventually, password, signIn, startBrowser, startServer } from "./harness.mjs";

let server, browser, certificate;
before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
  certificate = server.certificates.find((c) => c.has_private_key);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const ask = () => server.call("operator", "POST", `${server.project}/certificates/${certificate.id}/downloads`, { format: "cert" });
const over = (page) => page.getByRole("dialog", { name: "Your session ended" });

/** Another tab of the same browser. */
async function tab(page, at) {
  const other = await page.context().newPage();
  await other.goto(server.url + server.project + at);
  await other.getByRole("main").getByRole("heading").first().waitFor();
  return other;
}

/** Ends every session of somebody's, from elsewhere. */
async function end(username) {
  const elsewhere = await signIn(browser, server, username);
  await elsewhere.getByRole("button", { name: `Signed in as ${username}` }).click();
  await elsewhere.getByRole("menuitem", { name: "Sign out everywhere" }).click();
  await elsewhere.getByRole("heading", { name: "Sign in to Countersign" }).waitFor();
  await elsewhere.context().close();
}

async function signInAgain(page) {
  await over(page).getByRole("textbox", { name: "Password" }).fill(password);
  await over(page).getByRole("button", { name: "Sign in" }).click();
  await over(page).waitFor({ state: "detached" });
}

async function link(page) {
  await page.goto(`${server.url}${server.project}/certificates/${certificate.id}?download`);
  const dialog = page.getByRole("dialog", { name: `Download ${certificate.name}` });
  await dialog.getByRole("radio", { name: /^cert.pem/ }).check();
  return dialog.getByRole("button", { name: "Generate download link" });
}

test("who signs in again in one tab goes on in all", async () => {
  const one = await signIn(browser, server, "operator");
  const two = await tab(one, "/requests");
  const generate = await link(one);
  await end("operator");
  for (const page of [one, two]) await comesBack(page);
  await signInAgain(two);
  await over(one).waitFor({ state: "detached" }); // by itself
  await generate.click();
  await one.getByText("Your link is ready").waitFor();
  assert.deepEqual([one.complaints, await one.evaluate(() => document.title)], [[], `${certificate.name} · Countersign`]);
  await one.context().close();
});

test("a tab of before goes on after another tab got a new session", async () => {
  const one = await signIn(browser, server, "operator");
  const generate = await link(one);
  // Not through our pages, which would tell the tab.
  const renewed = await one.context().request.post(`${server.url}/api/v1/session`, { data: { username: "operator", password } });
  assert.equal(renewed.status(), 200);
  await generate.click();
  await one.getByText("Your link is ready").waitFor();
  assert.deepEqual(one.complaints, []);
  await one.context().close();
});

test("a tab forgets who was signed in before somebody else", async () => {
  const one = await signIn(browser, server, "operator");
  const two = await tab(one, "/certificates");
  await two.getByRole("button", { name: "Signed in as operator" }).click();
  await two.getByRole("menuitem", { name: "Sign out", exact: true }).click();
  await two.getByLabel("Username").fill("viewer");
  await two.getByRole("textbox", { name: "Password" }).fill(password);
  await two.getByRole("button", { name: "Sign in" }).click();
  await two.getByRole("button", { name: "Signed in as viewer" }).waitFor();
  await one.getByRole("button", { name: "Signed in as viewer" }).waitFor(); // by itself
  await one.context().close();
});

test("a session that ends under a draft of the policy leaves the draft, and Escape leaves the dialog below", async () => {
  const admin = await signIn(browser, server, "admin");
  await admin.goto(`${server.url}${server.project}/settings/policy`);
  await admin.getByLabel("Shortest passphrase").fill("33");
  await end("admin");
  await comesBack(admin);
  await signInAgain(admin);
  assert.equal(await admin.getByLabel("Shortest passphrase").inputValue(), "33");

  await link(admin);
  await admin.getByLabel("Reason").fill("kept");
  await end("admin");
  await comesBack(admin);
  await admin.keyboard.press("Escape");
  await signInAgain(admin);
  assert.equal(await admin.getByLabel("Reason").inputValue(), "kept");
  assert.deepEqual(admin.complaints, []);
  await admin.context().close();
});

test("an export after the session ended asks to sign in", async () => {
  const admin = await signIn(browser, server, "admin");
  await admin.goto(`${server.url}${server.project}/audit`);
  const save = admin.getByRole("button", { name: "Export CSV" });
  await save.waitFor();
  await end("admin");
  await save.evaluate((button) => button.click()); // also if the page has noticed by itself
  await over(admin).waitFor();
  assert.deepEqual(admin.complaints, []);
  await admin.context().close();
});

test("signing out that failed is said", async () => {
  const page = await signIn(browser, server, "operator");
  const leave = async () => {
    await page.getByRole("button", { name: "Signed in as operator" }).click();
    await page.getByRole("menuitem", { name: "Sign out", exact: true }).click();
  };
  await page.route("**/api/v1/session", (route) => route.fulfill({ status: 503, json: { code: "unavailable", title: "not available", detail: "The store does not answer." } }));
  await leave();
  await page.getByRole("alert").filter({ hasText: "You are still signed in" }).waitFor();
  await page.unroute("**/api/v1/session");
  await leave();
  await page.getByRole("heading", { name: "Sign in to Countersign" }).waitFor();
  await page.context().close();
});

test("a page that nobody touches keeps no session", async () => {
  const page = await signIn(browser, server, "operator");
  await page.getByRole("link", { name: "Requests" }).click();
  await page.getByRole("heading", { name: "Requests" }).waitFor();
  const read = async () => (await Promise.all([page.waitForRequest((r) => r.url().includes("/requests?")), ask()]))[0].headers()["x-unattended"];
  assert.equal(await read(), undefined);
  await page.evaluate(() => {
    const now = Date.now;
    Date.now = () => now() + 120_000;
  });
  assert.equal(await read(), "1");
  await page.mouse.move(300, 300);
  assert.equal(await read(), undefined);
  await page.context().close();
});

test("any number of tabs can be open: those that nobody sees hold no connection", async () => {
  const first = await signIn(browser, server, "operator");
  // Of tabs behind others, which a browser without a screen shows all at once.
  await first.context().addInitScript(() => {
    window.seen = false;
    Object.defineProperty(Document.prototype, "hidden", { get: () => !window.seen });
  });
  const tabs = [first];
  for (let n = 0; n < 7; n++) tabs.push(await tab(first, "/requests"));
  const last = tabs.at(-1);
  const rows = () => last.getByRole("link", { name: "cert.pem" }).count();
  const before = await rows();
  await ask();
  await last.evaluate(() => {
    window.seen = true;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await eventually("the tab shows what happened meanwhile", async () => (await rows()) === before + 1);
  await ask();
  await eventually("the tab is live again", async () => (await rows()) === before + 2);
  await first.context().close();
});
