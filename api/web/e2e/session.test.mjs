// Sessions: several tabs of one browser, a session that ends while the user works,
// and tabs that are hidden or idle.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertNoComplaints, endSessions, eventually, password, returnTo, signIn } from "./harness.mjs";
import { closePages, defaultPolicy, shared } from "./shared.mjs";

describe("session", () => {
  let server, browser, certificate;
  before(async () => {
    [server, browser] = await shared();
    await server.setPolicy({ ...defaultPolicy, allow_key_export: true });
    await server.setPassword("viewer");
    certificate = server.certificates.find((c) => c.has_private_key);
  });
  after(closePages);

  const requestDownload = () => server.call("operator", "POST", `${server.project}/certificates/${certificate.id}/downloads`, { format: "cert" });
  const sessionDialog = (page) => page.getByRole("dialog", { name: "Your session has ended" });

  /** Opens another tab of the same browser. */
  async function openTab(page, at) {
    const other = await page.context().newPage();
    await other.goto(server.url + server.project + at);
    await other.getByRole("main").getByRole("heading").first().waitFor();
    return other;
  }

  async function signInAgain(page) {
    await sessionDialog(page).getByRole("textbox", { name: "Password" }).fill(password);
    await sessionDialog(page).getByRole("button", { name: "Sign in" }).click();
    await sessionDialog(page).waitFor({ state: "detached" });
  }

  /** Opens the download dialog, chooses a format, and returns the button that generates the link. */
  async function prepareDownload(page, format = /^cert.pem/) {
    await page.goto(`${server.url}${server.project}/certificates/${certificate.id}?download`);
    const dialog = page.getByRole("dialog", { name: `Download ${certificate.name}` });
    await dialog.getByRole("radio", { name: format }).check();
    return dialog.getByRole("button", { name: "Generate download link" });
  }

  test("signing in again in one tab continues all tabs, and forms keep what was filled in", async () => {
    const one = await signIn(browser, server, "operator");
    const two = await openTab(one, "/requests");
    const generate = await prepareDownload(one, /^bundle.pkcs12/);
    await one.getByRole("textbox", { name: "Passphrase" }).fill("four words and more");
    await one.getByLabel("Reason").fill("the quarterly rotation");
    await endSessions(server, "operator");
    for (const page of [one, two]) await returnTo(page);
    await signInAgain(two);
    await sessionDialog(one).waitFor({ state: "detached" }); // without signing in there
    assert.equal(await one.getByRole("textbox", { name: "Passphrase" }).inputValue(), "four words and more");
    assert.equal(await one.getByLabel("Reason").inputValue(), "the quarterly rotation");
    await generate.click();
    await one.getByText("Your link is ready").waitFor();
    assert.equal(await one.evaluate(() => document.title), `${certificate.name} · Countersign`);
    assertNoComplaints(one);
    await one.context().close();
  });

  test("a tab continues after another tab got a new session", async () => {
    const page = await signIn(browser, server, "operator");
    const generate = await prepareDownload(page);
    // The request does not come from our pages, which would tell the other tab.
    const renewed = await page.context().request.post(`${server.url}/api/v1/session`, { data: { username: "operator", password } });
    assert.equal(renewed.status(), 200);
    await generate.click();
    await page.getByText("Your link is ready").waitFor();
    assertNoComplaints(page);
    await page.context().close();
  });

  test("a tab shows the new user after another user signed in", async () => {
    const one = await signIn(browser, server, "operator");
    const two = await openTab(one, "/certificates");
    await two.getByRole("button", { name: "Signed in as operator" }).click();
    await two.getByRole("menuitem", { name: "Sign out", exact: true }).click();
    await two.getByLabel("Username").fill("viewer");
    await two.getByRole("textbox", { name: "Password" }).fill(password);
    await two.getByRole("button", { name: "Sign in" }).click();
    await two.getByRole("button", { name: "Signed in as viewer" }).waitFor();
    await one.getByRole("button", { name: "Signed in as viewer" }).waitFor(); // without a reload
    await one.context().close();
  });

  test("a policy draft survives the end of the session, and Escape does not close the dialog below the sign-in dialog", async () => {
    const admin = await signIn(browser, server, "admin");
    await admin.goto(`${server.url}${server.project}/settings/policy`);
    await admin.getByLabel("Minimum passphrase length").fill("33");
    await endSessions(server, "admin");
    await returnTo(admin);
    await signInAgain(admin);
    assert.equal(await admin.getByLabel("Minimum passphrase length").inputValue(), "33");

    await prepareDownload(admin);
    await admin.getByLabel("Reason").fill("kept");
    await server.cookie("admin"); // the session to end is a new one
    await endSessions(server, "admin");
    await returnTo(admin);
    await admin.keyboard.press("Escape");
    await signInAgain(admin);
    assert.equal(await admin.getByLabel("Reason").inputValue(), "kept");
    assertNoComplaints(admin);
    await admin.context().close();
  });

  test("an export after the session ended asks to sign in", async () => {
    const admin = await signIn(browser, server, "admin");
    await admin.goto(`${server.url}${server.project}/audit`);
    const save = admin.getByRole("button", { name: "Export CSV" });
    await save.waitFor();
    await endSessions(server, "admin");
    await save.evaluate((button) => button.click()); // the page may already show the sign-in dialog
    await sessionDialog(admin).waitFor();
    assertNoComplaints(admin);
    await admin.context().close();
  });

  test("a failed sign-out is shown", async () => {
    const page = await signIn(browser, server, "operator");
    const signOut = async () => {
      await page.getByRole("button", { name: "Signed in as operator" }).click();
      await page.getByRole("menuitem", { name: "Sign out", exact: true }).click();
    };
    await page.route("**/api/v1/session", (route) => route.fulfill({ status: 503, json: { code: "unavailable", title: "not available", detail: "The store does not answer." } }));
    await signOut();
    await page.getByRole("alert").filter({ hasText: "You are still signed in" }).waitFor();
    await page.unroute("**/api/v1/session");
    await signOut();
    await page.getByRole("heading", { name: "Sign in to Countersign" }).waitFor();
    await page.context().close();
  });

  test("an idle page does not keep the session alive", async () => {
    const page = await signIn(browser, server, "operator");
    await page.getByRole("link", { name: "Requests" }).click();
    await page.getByRole("heading", { name: "Requests" }).waitFor();
    const idleHeader = async () => (await Promise.all([page.waitForRequest((r) => r.url().includes("/requests?")), requestDownload()]))[0].headers()["x-client-idle"];
    assert.equal(await idleHeader(), undefined);
    await page.evaluate(() => {
      const now = Date.now;
      Date.now = () => now() + 120_000;
    });
    assert.equal(await idleHeader(), "1");
    await page.mouse.move(300, 300);
    assert.equal(await idleHeader(), undefined);
    await page.context().close();
  });

  test("hidden tabs hold no connection, so that any number of tabs can be open", async () => {
    // A browser without a screen shows all tabs at once, so the tabs only claim to be hidden.
    const hide = () => {
      window.seen = false;
      Object.defineProperty(Document.prototype, "hidden", { get: () => !window.seen });
    };
    await requestDownload();
    const first = await signIn(browser, server, "operator", { initScript: [hide] });
    let last;
    for (let n = 0; n < 7; n++) last = await openTab(first, "/requests");
    const rows = () => last.getByRole("link", { name: "cert.pem" }).count();
    await eventually("the requests are shown", async () => (await rows()) > 0);
    const before = await rows();
    await requestDownload();
    await last.evaluate(() => {
      window.seen = true;
      document.dispatchEvent(new Event("visibilitychange"));
    });
    await eventually("the tab shows what happened meanwhile", async () => (await rows()) === before + 1);
    await requestDownload();
    await eventually("the tab is updated live again", async () => (await rows()) === before + 2);
    await first.context().close();
  });
});
