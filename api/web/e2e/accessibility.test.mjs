// Runs axe on every page and dialog, and checks that each fits into 320 pixels
// (WCAG 2.2, 1.4.10).
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import axe from "axe-core";
import { assertNoComplaints, eventually, signIn, visit } from "./harness.mjs";
import { closePages, defaultPolicy, shared } from "./shared.mjs";

describe("accessibility", () => {
  const wide = { width: 1280, height: 900 };
  const phone = { width: 320, height: 700 };

  /** By default, axe leaves out the size of targets (WCAG 2.2, 2.5.8). Only violations are reported. */
  const axeOptions = { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } };

  let server, browser, certificate, admin, operator;
  before(async () => {
    [server, browser] = await shared();
    await server.setPolicy(defaultPolicy);
    certificate = server.certificates.find((c) => c.has_private_key);
    [admin, operator] = [await signIn(browser, server, "admin", { viewport: wide }), await signIn(browser, server, "operator", { viewport: wide })];
  });
  after(closePages);

  /** What axe finds wrong on the page in its present state. */
  async function violations(page) {
    if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe.source);
    const found = await page.evaluate((options) => window.axe.run(options).then((result) => result.violations), axeOptions);
    return found.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html} ${n.failureSummary}`));
  }

  /** Whether a page shows its width's layout and nothing moves, except what turns without end. Runs in the browser. */
  function settled() {
    const moves = document.getAnimations().some((a) => a.playState === "running" && a.effect.getComputedTiming().endTime !== Infinity);
    return !moves && document.documentElement.scrollWidth <= window.innerWidth;
  }

  let checks = 0;

  /**
   * Checks a state of a page. Colours depend on the scheme alone, and the layout on
   * the width alone; states take turns with light and wide, and dark and narrow.
   * With COUNTERSIGN_SOAK=1 axe checks each state both ways.
   */
  async function check(page, what) {
    checks++;
    const looks = [["light", wide], ["dark", phone]];
    if (checks % 2) looks.reverse();
    for (const [n, [colorScheme, viewport]] of looks.entries()) {
      await page.setViewportSize(viewport);
      // The layout follows the width with a short delay, and what opens grows.
      await eventually(`${what} fits into a width of ${viewport.width}`, () => page.evaluate(settled));
      if (n > 0 && !process.env.COUNTERSIGN_SOAK) continue;
      await page.emulateMedia({ colorScheme });
      await page.locator(`html[data-mantine-color-scheme=${colorScheme}]`).waitFor();
      // The colours of what the pointer is over change slowly.
      await eventually(`${what} has the colours of the scheme`, () => page.evaluate(settled));
      assert.deepEqual(await violations(page), [], `${what}, ${colorScheme}, ${viewport.width} wide`);
    }
    await page.setViewportSize(wide);
  }

  /** Follows an address as a link does, without loading the web UI and axe again. */
  async function follow(page, at, heading) {
    await page.evaluate((address) => {
      history.pushState(null, "", address);
      dispatchEvent(new PopStateEvent("popstate"));
    }, server.project + at);
    await page.getByRole("main").getByRole("heading", { level: 1 }).filter(heading).waitFor();
  }

  /** Opens a page, by way of one that does not exist, so that nothing of the page before is left. */
  async function open(page, at) {
    await follow(page, "/nowhere", { hasText: "Page not found" });
    await follow(page, at, { hasNotText: "Page not found" });
    await eventually("the page is loaded", async () => (await page.locator("[aria-busy=true]").count()) === 0);
  }

  test("the sign-in page", async () => {
    const page = await visit(browser, server);
    await page.getByRole("heading", { name: "Sign in to Countersign" }).waitFor();
    await check(page, "sign-in");
    await page.getByLabel("Username").fill("nobody");
    await page.getByRole("textbox", { name: "Password" }).fill("a wrong password");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").waitFor();
    await check(page, "failed sign-in");
  });

  test("requests and approvals", async () => {
    await server.setPolicy({ approval: { mode: "key_export", required_approvals: 1, ttl_seconds: 3600, claim_window_seconds: 3600 } });
    const request = (format) => server.call("operator", "POST", `${server.project}/certificates/${certificate.id}/downloads`, { format, reason: "a reason" });
    const [pending, denied, approved] = [await request("key"), await request("zip"), await request("pkcs12")];
    await server.call("approver", "POST", `${server.project}/approvals/${denied.approval_id}/deny`, { comment: "no" });
    await server.call("approver", "POST", `${server.project}/approvals/${approved.approval_id}/approve`, { comment: "yes" });
    for (const [page, at] of [
      [admin, "/requests?who=all"],
      [admin, "/approvals"],
      [admin, "/approvals?show=settled"],
      [admin, `/approvals/${pending.approval_id}`],
      [operator, `/requests/${pending.request_id}`],
      [operator, `/requests/${denied.request_id}`],
      [operator, `/requests/${approved.request_id}`],
    ]) {
      await open(page, at);
      await check(page, at);
    }
    assertNoComplaints(admin, operator);
  });

  test("every page", async () => {
    for (const at of ["/certificates", "/certificates?q=nothing-has-this-name", `/certificates/${certificate.id}`, "/requests", "/settings/policy", "/audit", "/audit?entry=1", "/members", "/api-keys", "/users", "/system-keys", "/plugins", "/account"]) {
      await open(admin, at);
      await check(admin, at);
    }
    await follow(admin, "/nowhere", { hasText: "Page not found" });
    await check(admin, "page not found");
    await admin.goto(`${server.url}/projects/proj_nothing`);
    await admin.getByRole("alert").waitFor();
    await check(admin, "project not found");
    for (const at of ["/settings/policy", "/members"]) {
      await open(operator, at);
      await check(operator, `${at} for an operator`);
    }
    await operator.goto(`${server.url}${server.project}/audit`);
    await operator.getByRole("alert").waitFor();
    await check(operator, "a refused page");
    assertNoComplaints(admin, operator);
  });

  test("the dialogs of administration", async () => {
    for (const [at, button] of [["/members", "Add member"], ["/members", "Change role of Otto Operator"], ["/members", "Remove Otto Operator"], ["/users", "Create user"], ["/users", "Set password of Otto Operator"], ["/users", "Make administrator: Otto Operator"], ["/users", "Disable Otto Operator"], ["/plugins", "Reload pem"], ["/api-keys", "Create API key"]]) {
      await open(admin, at);
      await admin.getByRole("button", { name: button, exact: true }).click();
      await admin.getByRole("dialog").waitFor();
      await check(admin, button);
    }
    await admin.getByRole("dialog").getByLabel("Name").fill("looked-at");
    await admin.getByRole("button", { name: "Create", exact: true }).click();
    await admin.getByText("it is not shown again").waitFor();
    await check(admin, "the secret of an API key");

    await open(admin, "/settings/policy");
    const length = admin.getByLabel("Minimum passphrase length");
    await length.fill("0");
    await check(admin, "an invalid value");
    await length.fill("9");
    await admin.getByRole("button", { name: "Save changes" }).click();
    await admin.getByRole("dialog").waitFor();
    await check(admin, "the confirmation of a policy change");
    await server.setPolicy({ min_passphrase_length: 10 });
    await admin.getByRole("button", { name: "Change policy" }).click();
    await admin.getByRole("dialog", { name: "Somebody else changed the policy" }).waitFor();
    await check(admin, "the conflict");
    assertNoComplaints(admin);
  });

  test("on a phone, the navigation can be focused only while it is open", async () => {
    const page = admin;
    await open(page, "/requests?status=issued");
    await check(page, "a choice that can be cleared");
    await page.setViewportSize(phone);
    const [burger, entry] = [page.getByRole("button", { name: "Navigation" }), page.getByRole("link", { name: "Certificates", exact: true })];
    const focusable = () => page.locator("#navigation a").first().evaluate((e) => (e.focus(), e === document.activeElement));
    await eventually("the navigation is closed", async () => !(await focusable()));
    assert.equal(await burger.getAttribute("aria-expanded"), "false");
    await burger.click();
    await entry.waitFor();
    assert.deepEqual([await burger.getAttribute("aria-expanded"), await focusable()], ["true", true]);
    assert.deepEqual(await violations(page), []);
    await page.setViewportSize(wide);
  });

  test("what opens over a page", async () => {
    const dropdown = async (at, name, button) => {
      await open(admin, at);
      if (button) await admin.getByRole("button", { name: button }).click();
      await admin.getByRole("combobox", { name }).click();
      await admin.getByRole("option").first().waitFor();
      await check(admin, `${name} of ${at}`);
    };
    await dropdown("/certificates", "Project");
    await dropdown("/audit", "Event");
    await dropdown("/api-keys", "Role", "Create API key");
    await dropdown(`/certificates/${certificate.id}`, "Where will you import it?", "Download");
    await open(admin, "/certificates");
    await admin.getByRole("button", { name: "Signed in as admin" }).click();
    await admin.getByRole("menu").waitFor();
    await check(admin, "the account menu");
    await open(admin, `/certificates/${certificate.id}`);
    await admin.keyboard.press("Tab"); // the tooltip opens for the keyboard's focus alone
    await admin.locator("time").first().focus();
    await admin.getByRole("tooltip").waitFor();
    await check(admin, "a time in UTC");
    assertNoComplaints(admin);
  });

  test("each step of a download", async () => {
    const dialog = operator.getByRole("dialog");
    const choose = async (format) => {
      await open(operator, `/certificates/${certificate.id}?download`);
      await dialog.getByRole("radio", { name: format }).check();
    };
    const { approval } = defaultPolicy;
    await server.setPolicy({ allow_key_export: false, approval });
    await choose(/^bundle.pkcs12/);
    await dialog.getByText("Denied by policy").waitFor();
    await check(operator, "denied");
    await server.setPolicy({ allow_key_export: true });
    await dialog.getByText("Allowed by policy.").waitFor();
    await dialog.getByRole("button", { name: "Generate", exact: true }).click();
    await dialog.getByRole("button", { name: "Advanced options" }).click();
    await check(operator, "allowed");
    await dialog.getByRole("button", { name: "Generate download link" }).click();
    await dialog.getByText("Your link is ready").waitFor();
    await check(operator, "the link");
    await Promise.all([operator.waitForEvent("download"), dialog.getByRole("button", { name: /^Download/ }).click()]);
    await dialog.getByText("from 127.0.0.1").waitFor();
    await check(operator, "downloaded");
    await choose(/^cert.pem/);
    await dialog.getByRole("button", { name: "Generate download link" }).click();
    await dialog.getByRole("button", { name: "Revoke link" }).click();
    await dialog.getByText("The link was revoked").waitFor();
    await check(operator, "revoked");
    await server.setPolicy({ approval: { ...approval, mode: "all" } });
    await choose(/^cert.pem/);
    await dialog.getByText("Needs 1 approval").waitFor();
    await dialog.getByRole("textbox", { name: "Reason" }).fill("to see it");
    await check(operator, "approval needed");
    await dialog.getByRole("button", { name: "Request approval" }).click();
    await dialog.getByText("Approval requested").waitFor();
    await check(operator, "approval requested");
    assertNoComplaints(operator);
  });
});
