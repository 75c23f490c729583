// What axe finds on every page and dialog, in both colour schemes, on a wide screen
// and at 320 pixels (WCAG 2.2, 1.4.10).
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { eventually, signIn, startBrowser, startServer } from "./harness.mjs";

const wide = { width: 1280, height: 900 };
const phone = { width: 320, height: 700 };

/** Of WCAG 2.2, axe leaves the size of targets (2.5.8) out by default. What passes need not be told. */
const alsoTargets = { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } };

let server, browser, certificate;
before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
  certificate = server.certificates.find((c) => c.has_private_key);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

// Without motion, nothing is measured half faded.
const come = (who) => signIn(browser, server, who, { reducedMotion: "reduce", viewport: wide });

/** What axe finds wrong on the page as it is. */
async function violations(page) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe.source);
  const found = await page.evaluate((options) => window.axe.run(options).then((all) => all.violations), alsoTargets);
  return found.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html} ${n.failureSummary}`));
}

/** Has axe look at the page in both schemes and widths: colours do not hang on the width, nor the layout on the scheme. */
async function check(page, what) {
  for (const [colorScheme, viewport] of [["light", wide], ["dark", phone]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(viewport);
    await page.locator(`html[data-mantine-color-scheme=${colorScheme}]`).waitFor();
    // The layout follows the width within a moment.
    const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
    await eventually(`${what} fits in a width of ${viewport.width}`, fits);
    assert.deepEqual(await violations(page), [], `${what}, ${colorScheme}, ${viewport.width} wide`);
  }
  await page.setViewportSize(wide);
}

async function open(page, at) {
  await page.goto(server.url + server.project + at);
  await page.getByRole("main").getByRole("heading").first().waitFor();
  await page.waitForLoadState("networkidle");
}

test("sign-in", async () => {
  const context = await browser.newContext({ reducedMotion: "reduce" });
  const page = await context.newPage();
  await page.goto(server.url);
  await page.getByRole("heading", { name: "Sign in to Countersign" }).waitFor();
  await check(page, "sign-in");
  await page.getByLabel("Username").fill("nobody");
  await page.getByRole("textbox", { name: "Password" }).fill("a wrong password");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").waitFor();
  await check(page, "refused sign-in");
});

test("requests and approvals", async () => {
  await server.setPolicy({ approval: { mode: "key_export", required_approvals: 1, ttl_seconds: 3600, claim_window_seconds: 3600 } });
  const ask = (format) => server.call("operator", "POST", `${server.project}/certificates/${certificate.id}/downloads`, { format, reason: "a reason" });
  const [waits, denied, approved] = [await ask("key"), await ask("zip"), await ask("pkcs12")];
  await server.call("approver", "POST", `${server.project}/approvals/${denied.approval_id}/deny`, { comment: "no" });
  await server.call("approver", "POST", `${server.project}/approvals/${approved.approval_id}/approve`, { comment: "yes" });
  const [admin, operator] = [await come("admin"), await come("operator")];
  for (const [page, at] of [
    [admin, "/requests?who=all"],
    [admin, "/approvals"],
    [admin, "/approvals?show=settled"],
    [admin, `/approvals/${waits.approval_id}`],
    [operator, `/requests/${waits.request_id}`],
    [operator, `/requests/${denied.request_id}`],
    [operator, `/requests/${approved.request_id}`],
  ]) {
    await open(page, at);
    await check(page, at);
  }
  assert.deepEqual([admin.complaints, operator.complaints], [[], []]);
});

test("every page", async () => {
  const page = await come("admin");
  for (const at of ["/certificates", "/certificates?q=nothing-is-called-so", `/certificates/${certificate.id}`, "/requests", "/approvals", "/settings/policy", "/audit", "/audit?entry=1", "/members", "/api-keys", "/users", "/plugins", "/account"]) {
    await open(page, at);
    await check(page, at);
  }
  await page.goto(`${server.url}${server.project}/nowhere`);
  await page.getByText("There is no such page").waitFor();
  await check(page, "no such page");
  await page.goto(`${server.url}/projects/proj_nothing`);
  await page.getByRole("alert").waitFor();
  await check(page, "no such project");
  const operator = await come("operator");
  for (const at of ["/settings/policy", "/members"]) {
    await open(operator, at);
    await check(operator, `${at} for an operator`);
  }
  await operator.goto(`${server.url}${server.project}/audit`);
  await operator.getByRole("alert").waitFor();
  await check(operator, "a page that is refused");
  assert.deepEqual([page.complaints, operator.complaints], [[], []]);
});

test("the dialogs of administration", async () => {
  const page = await come("admin");
  for (const [at, button] of [["/api-keys", "Make an API key"], ["/members", "Add a member"], ["/members", "Change role of Otto Operator"], ["/members", "Remove Otto Operator"], ["/users", "Make a user"], ["/users", "Set password of Otto Operator"], ["/users", "Disable Otto Operator"], ["/plugins", "Reload pem"]]) {
    await open(page, at);
    await page.getByRole("button", { name: button, exact: true }).click();
    await page.getByRole("dialog").waitFor();
    await check(page, button);
  }
  await open(page, "/api-keys");
  await page.getByRole("button", { name: "Make an API key" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("looked-at");
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByText("shown here and never again").waitFor();
  await check(page, "the secret of a key");

  await open(page, "/settings/policy");
  await page.getByLabel("Shortest passphrase").fill("0");
  await check(page, "a wrong value");
  await page.getByLabel("Shortest passphrase").fill("9");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("dialog").waitFor();
  await check(page, "the change of the policy");
  await server.setPolicy({ min_passphrase_length: 10 });
  await page.getByRole("button", { name: "Change the policy" }).click();
  await page.getByRole("dialog", { name: "Somebody changed the policy meanwhile" }).waitFor();
  await check(page, "the conflict");
  assert.deepEqual(page.complaints, []);
});

test("on a phone, the navigation takes the focus only while it is open", async () => {
  const page = await come("admin");
  await page.setViewportSize(phone);
  await open(page, "/requests?status=issued");
  await check(page, "a choice that can be cleared");
  await page.setViewportSize(phone);
  const [burger, entry] = [page.getByRole("button", { name: "Navigation" }), page.getByRole("link", { name: "Certificates", exact: true })];
  const takes = () => page.locator("#navigation a").first().evaluate((e) => (e.focus(), e === document.activeElement));
  assert.deepEqual([await burger.getAttribute("aria-expanded"), await takes()], ["false", false]);
  await burger.click();
  await entry.waitFor();
  assert.deepEqual([await burger.getAttribute("aria-expanded"), await takes()], ["true", true]);
  assert.deepEqual(await violations(page), []);
});

test("what opens over a page", async () => {
  const page = await come("admin");
  const dropdown = async (at, name, button) => {
    await open(page, at);
    if (button) await page.getByRole("button", { name: button }).click();
    await page.getByRole("combobox", { name }).click();
    await page.getByRole("option").first().waitFor();
    await check(page, `${name} of ${at}`);
  };
  await dropdown("/certificates", "Project");
  await dropdown("/audit", "Action");
  await dropdown("/api-keys", "Role", "Make an API key");
  await dropdown(`/certificates/${certificate.id}`, "Where will you import it?", "Download");
  await open(page, "/certificates");
  await page.getByRole("button", { name: "Signed in as admin" }).click();
  await page.getByRole("menu").waitFor();
  await check(page, "the menu");
  await open(page, `/certificates/${certificate.id}`);
  await page.locator("time").first().focus();
  await page.getByRole("tooltip").waitFor();
  await check(page, "a time in UTC");
  assert.deepEqual(page.complaints, []);
});

test("each step of a download", async () => {
  const page = await come("operator");
  const dialog = page.getByRole("dialog");
  const ask = async (format) => {
    await open(page, `/certificates/${certificate.id}?download`);
    await dialog.getByRole("radio", { name: format }).check();
  };
  const approval = { mode: "off", required_approvals: 1, ttl_seconds: 3600, claim_window_seconds: 3600 };
  await server.setPolicy({ allow_key_export: false, approval });
  await ask(/^bundle.pkcs12/);
  await dialog.getByText("The policy refuses this download").waitFor();
  await check(page, "refused");
  await server.setPolicy({ allow_key_export: true });
  await ask(/^bundle.pkcs12/);
  await dialog.getByText("The policy allows this download").waitFor();
  await dialog.getByRole("button", { name: "Generate", exact: true }).click();
  await dialog.getByRole("button", { name: "Advanced options" }).click();
  await check(page, "allowed");
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  await dialog.getByText("Your link is ready").waitFor();
  await check(page, "the link");
  await Promise.all([page.waitForEvent("download"), dialog.getByRole("button", { name: /^Download/ }).click()]);
  await dialog.getByText("from 127.0.0.1").waitFor();
  await check(page, "used");
  await ask(/^cert.pem/);
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  await dialog.getByRole("button", { name: "Revoke" }).click();
  await dialog.getByText("The link is revoked").waitFor();
  await check(page, "revoked");
  await server.setPolicy({ approval: { ...approval, mode: "all" } });
  await ask(/^cert.pem/);
  await dialog.getByText("This needs one approval").waitFor();
  await dialog.getByRole("textbox", { name: "Reason" }).fill("to see it");
  await check(page, "needs approval");
  await dialog.getByRole("button", { name: "Ask for approval" }).click();
  await dialog.getByText("Waiting for approval").waitFor();
  await check(page, "waits");
  await server.setPolicy({ approval });
  assert.deepEqual(page.complaints, []);
});
