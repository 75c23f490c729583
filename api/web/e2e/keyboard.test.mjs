// Every task of the web UI by keyboard alone, with the motion that other tests do without.
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { assertNoComplaints, endSessions, eventually, password, returnTo, signIn, visit } from "./harness.mjs";
import { choose, menu, pick, press, reach, save, signInByKeyboard, type } from "./keyboard.mjs";
import { closePages, defaultPolicy, shared } from "./shared.mjs";

describe("keyboard", () => {
  const motion = { reducedMotion: "no-preference" };

  let server, browser, certificate, admin, operator, approver;
  before(async () => {
    [server, browser] = await shared();
    certificate = server.certificates.find((c) => c.key_algorithm === "RSA-2048" && c.has_private_key);
    [admin, operator, approver] = [await signIn(browser, server, "admin", motion), await signIn(browser, server, "operator", motion), await signIn(browser, server, "approver", motion)];
  });
  beforeEach(() => server.setPolicy({ ...defaultPolicy, approval: { mode: "key_export", required_approvals: 1, ttl_seconds: 3600, claim_window_seconds: 3600 } }));
  after(closePages);

  const focused = (what, locator) => eventually(`the focus is on ${what}`, () => locator.evaluate((e) => e === document.activeElement));

  /** After an action that removes or disables its button, another element has the focus. */
  const focusKept = (page) => eventually("something has the focus", () => page.evaluate(() => document.activeElement !== document.body && !document.activeElement.matches(":disabled")));

  const closed = (page) => page.getByRole("dialog").waitFor({ state: "detached" });

  /** Waits for a page: the one before may have links of the same names. */
  const shows = (page, heading) => page.getByRole("heading", { name: heading, level: 1, exact: true }).waitFor();

  /** Opens the download dialog of the sample certificate and chooses a file. */
  async function chooseFile(page, file) {
    await press(page, "link", "Certificates");
    await shows(page, "Certificates");
    await press(page, "link", certificate.name);
    await press(page, "button", "Download");
    await pick(page, /^cert.pem/, file);
  }

  async function requestFile(page, file, reason) {
    await chooseFile(page, file);
    await type(page, "textbox", /^Reason/, reason);
    await press(page, "button", "Request approval");
    await press(page, "link", "Open request");
    await page.getByText("Waiting for approval. The request expires").waitFor();
  }

  /** Opens the only pending approval. */
  async function openApproval(page) {
    await press(page, "link", /^Approvals/);
    await shows(page, "Approvals");
    await press(page, "link", certificate.name);
    await page.getByRole("heading", { name: "Decisions" }).waitFor();
  }

  test("a certificate is searched, and a file downloaded", async () => {
    await type(operator, "searchbox", "Search certificates", "no such name");
    await operator.getByText("No certificate matches").waitFor();
    await type(operator, "searchbox", "Search certificates", certificate.name);
    const search = operator.getByRole("searchbox");
    await eventually("the address has every typed letter", () => new URL(operator.url()).searchParams.get("q") === certificate.name);
    assert.equal(await search.inputValue(), certificate.name);
    await press(operator, "link", "Certificates");
    await eventually("the search is cleared", async () => (await search.inputValue()) === "");
    await chooseFile(operator, /^fullchain.pem/);
    await press(operator, "button", "Generate download link");
    const dialog = operator.getByRole("dialog");
    const alert = dialog.getByRole("status");
    await focused("the outcome", alert.filter({ hasText: "Your link is ready" }));
    assert.equal((await save(operator, /^Download fullchain.pem/)).suggestedFilename(), "fullchain.pem");
    await focused("the outcome", alert.filter({ hasText: "was downloaded" }));
    await operator.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    await focused("what opened the dialog", operator.getByRole("button", { name: "Download" }));
    assertNoComplaints(operator);
  });

  test("a file is requested, approved, and downloaded with a passphrase", async () => {
    await requestFile(operator, /^bundle.pkcs12/, "the mail gateway");
    await openApproval(approver);
    await type(approver, "textbox", "Comment", "go ahead");
    await press(approver, "button", "Approve");
    await approver.getByText("approver approved it").waitFor();
    await focused("the decisions", approver.getByRole("heading", { name: "Decisions" }));
    await operator.getByText("Approved. Generate the link").waitFor();
    await type(operator, "textbox", "Passphrase", "four words and more");
    await press(operator, "button", "Toggle password visibility", "Space");
    assert.equal(await operator.getByRole("textbox", { name: "Passphrase" }).getAttribute("type"), "text");
    await press(operator, "button", "Generate download link");
    await focused("the outcome", operator.getByRole("status").filter({ hasText: "Your link is ready" }));
    assert.equal((await save(operator, /^Download bundle.pkcs12/)).suggestedFilename(), "bundle.pkcs12");
    await operator.getByText("bundle.pkcs12 was downloaded").waitFor();
    assertNoComplaints(operator, approver);
  });

  test("a request is denied with a comment, and another is cancelled", async () => {
    await requestFile(operator, /^key.pem/, "just in case");
    await openApproval(approver);
    await press(approver, "button", "Deny");
    await approver.getByText("Enter a comment to deny the request.").waitFor();
    await type(approver, "textbox", "Comment", "not for this host", "Shift+Tab");
    await press(approver, "button", "Deny");
    await operator.getByText("not for this host").first().waitFor();
    await press(approver, "link", /^Approvals/);
    await press(approver, "tab", /^Waiting/, "ArrowRight");
    await approver.getByRole("row").filter({ hasText: "just in case" }).getByText("Denied").waitFor();

    await requestFile(operator, /^key.pem/, "changed my mind");
    await press(operator, "button", "Cancel request");
    await focused("the outcome", operator.getByRole("status").filter({ hasText: "You cancelled the request." }));
    assertNoComplaints(operator, approver);
  });

  test("a request is found by its state, and its link is revoked", async () => {
    await chooseFile(operator, /^cert.pem/);
    await press(operator, "button", "Generate download link");
    const link = await (await reach(operator, "textbox", "Link")).inputValue();
    await operator.keyboard.press("Escape");
    await closed(operator);
    await press(operator, "link", "Requests");
    await choose(operator, "State", "Denied");
    await operator.getByRole("link", { name: "cert.pem", exact: true }).waitFor({ state: "detached" });
    await press(operator, "button", "Clear State");
    await press(operator, "link", "cert.pem");
    await press(operator, "button", "Revoke link");
    await focused("the outcome", operator.getByRole("status").filter({ hasText: "The link was revoked. Nobody used it." }));
    assert.equal((await fetch(link)).status, 410);
    assertNoComplaints(operator);
  });

  test("the policy is changed", async () => {
    await press(admin, "link", "Certificate Policy");
    await press(admin, "switch", /^Allow key export/, "Space");
    await press(admin, "button", "Save changes");
    await press(admin, "button", "Change policy");
    await admin.getByText("The policy was changed.").waitFor();
    await closed(admin);
    await focused("the summary", admin.getByRole("alert").filter({ hasText: "Summary" }));
    assert.equal((await server.call("admin", "GET", server.project + "/certificate-policy")).allow_key_export, true);
    assertNoComplaints(admin);
  });

  test("an API key is created and revoked", async () => {
    await press(admin, "link", "API keys");
    await press(admin, "button", "Create API key");
    const name = admin.getByRole("textbox", { name: "Name" });
    await focused("the first field", name);
    await admin.keyboard.type("deploy-web-2");
    await choose(admin, "Role", /^Viewer/);
    await choose(admin, "Expires", "In 7 days");
    await press(admin, "button", "Create");
    await admin.getByText("it is not shown again").waitFor();
    await reach(admin, "button", "Copy the secret");
    await press(admin, "button", "Done");
    await closed(admin);
    await focused("what opened the dialog", admin.getByRole("button", { name: "Create API key" }));
    await press(admin, "button", "Revoke deploy-web-2");
    await press(admin, "button", "Revoke");
    const row = admin.getByRole("row", { name: /deploy-web-2/ });
    await row.getByText("Revoked").waitFor();
    await row.getByText("viewer").waitFor();
    await closed(admin);
    await focusKept(admin);
    assertNoComplaints(admin);
  });

  test("a member is added, given another role, and removed", async () => {
    await server.call("system", "POST", "/users", { username: "nils", name: "Nils New", password });
    await press(admin, "link", "Members");
    await press(admin, "button", "Add member");
    await type(admin, "combobox", "User", "nils");
    await choose(admin, "User", /^Nils New/);
    await choose(admin, "Role", /^Operator/);
    await press(admin, "button", "Add");
    const row = admin.getByRole("row", { name: /Nils New/ });
    await row.getByText("operator", { exact: true }).waitFor();
    await closed(admin);
    await press(admin, "button", "Change role of Nils New");
    await choose(admin, "Role", /^Approver/);
    await press(admin, "button", "Change");
    await row.getByText("approver", { exact: true }).waitFor();
    await closed(admin);
    await press(admin, "button", "Remove Nils New");
    await press(admin, "button", "Remove");
    await row.waitFor({ state: "detached" });
    await closed(admin);
    await focusKept(admin);
    assertNoComplaints(admin);
  });

  test("a plugin is reloaded, and the audit log has an entry", async () => {
    await press(admin, "link", "Plugins");
    await press(admin, "button", "Reload pem");
    await press(admin, "button", "Reload");
    await admin.getByText(/The plugin pem is running/).waitFor();
    await closed(admin);
    await press(admin, "link", "Audit log");
    await pick(admin, /./, "Users and plugins");
    await admin.waitForURL(/chain=system/);
    await type(admin, "combobox", "Event", "reload");
    await choose(admin, "Event", "Plugin reloaded");
    await press(admin, "button", "Apply");
    await admin.waitForURL(/chain=system.*action=|action=.*chain=system/);
    await eventually("only matching entries are shown", async () => (await admin.getByRole("row").count()) === 2);
    const entry = await reach(admin, "link", /^Entry /);
    await admin.keyboard.press("Enter");
    const detail = admin.getByRole("dialog", { name: /^Audit entry / });
    await detail.getByText("Plugin reloaded: plugin.reloaded").waitFor();
    await reach(admin, "button", "Copy hash");
    await admin.keyboard.press("Enter");
    await detail.getByRole("status").filter({ hasText: /hash/ }).first().waitFor({ state: "attached" });
    await admin.keyboard.press("Escape");
    await detail.waitFor({ state: "hidden" });
    await focused("the entry", entry);
    assertNoComplaints(admin);
  });

  test("a user is created, gets a password, and is disabled", async () => {
    await press(admin, "link", "Users");
    await press(admin, "button", "Create user");
    await focused("the first field", admin.getByRole("textbox", { name: "Username" }));
    await admin.keyboard.type("uma");
    await type(admin, "textbox", "Name", "Uma User");
    await press(admin, "button", "Create");
    await admin.getByRole("row", { name: /Uma User/ }).waitFor();
    await closed(admin);
    await press(admin, "button", "Set password of Uma User");
    await type(admin, "textbox", /^New password/, password);
    await press(admin, "button", "Set");
    await closed(admin);
    await press(admin, "button", "Disable Uma User");
    await press(admin, "button", "Disable");
    await closed(admin);
    await reach(admin, "button", "Enable Uma User");
    assertNoComplaints(admin);
  });

  test("the audit log is verified and exported", async () => {
    await press(admin, "link", "Audit log");
    const [download] = await Promise.all([admin.waitForEvent("download"), press(admin, "button", "Export NDJSON")]);
    assert.match(download.suggestedFilename(), /\.ndjson$/);
    await press(admin, "button", "Verify now");
    await admin.getByText(/^Chain intact/).waitFor();
    assertNoComplaints(admin);
  });

  test("a conflict of two policy changes is resolved", async () => {
    await press(admin, "link", "Certificate Policy");
    await type(admin, "textbox", "Minimum passphrase length", "20");
    await server.setPolicy({ min_passphrase_length: 16 });
    await press(admin, "button", "Save changes");
    await press(admin, "button", "Change policy");
    await admin.getByRole("dialog", { name: "Somebody else changed the policy" }).waitFor();
    await pick(admin, /^Yours/, /^Theirs/);
    await press(admin, "button", "Continue");
    await closed(admin);
    assert.equal((await server.call("admin", "GET", server.project + "/certificate-policy")).min_passphrase_length, 16);
    assertNoComplaints(admin);
  });

  test("a user who signs in again continues where they were", async () => {
    await chooseFile(operator, /^cert.pem/);
    await type(operator, "textbox", /^Reason/, "kept");
    await endSessions(server, "operator");
    const dialog = await returnTo(operator);
    await focused("the password", dialog.getByRole("textbox", { name: "Password" }));
    await operator.keyboard.type(password);
    await operator.keyboard.press("Enter");
    await dialog.waitFor({ state: "detached" });
    assert.equal(await operator.getByRole("textbox", { name: /^Reason/ }).inputValue(), "kept");
    await press(operator, "button", "Generate download link");
    await operator.getByText("Your link is ready").waitFor();
    await operator.keyboard.press("Escape");
    await closed(operator);
    assertNoComplaints(operator);
  });

  test("the project and the colours are changed", async () => {
    const other = await server.call("system", "POST", "/projects", { name: "Another project" });
    await admin.reload(); // the project was created elsewhere
    await choose(admin, "Project", "Another project");
    await admin.waitForURL(`**/projects/${other.id}/certificates`);
    await admin.getByText("No certificates yet").waitFor();
    for (const scheme of ["dark", "light"]) {
      await press(admin, "button", `Use ${scheme} colours`);
      await admin.locator(`html[data-mantine-color-scheme=${scheme}]`).waitFor();
    }
    assertNoComplaints(admin);
  });

  test("a user without a project can sign out", async () => {
    await server.call("system", "POST", "/users", { username: "lone", name: "Lone", password });
    const page = await visit(browser, server, motion);
    await signInByKeyboard(page, "lone", password);
    await page.getByRole("heading", { name: "You are not a member of any project" }).waitFor();
    await press(page, "button", "Sign out");
    await page.getByRole("heading", { name: "Sign in to Countersign" }).waitFor();
    assertNoComplaints(page);
  });

  test("a user changes their password, and signs out and in", async () => {
    await menu(approver, "approver", /^Your account/);
    await type(approver, "textbox", "Current password", password);
    for (const label of ["New password", "New password again"]) await type(approver, "textbox", label, "a password of some length");
    await press(approver, "button", "Change password");
    await focused("the outcome", approver.getByRole("status").filter({ hasText: "Your other sessions have ended." }));
    await menu(approver, "approver", "Sign out");
    await approver.getByRole("heading", { name: "Sign in to Countersign" }).waitFor();
    await signInByKeyboard(approver, "approver", "a password of some length");
    await approver.getByRole("heading", { name: "Certificates" }).waitFor();
    assertNoComplaints(approver);
  });
});
