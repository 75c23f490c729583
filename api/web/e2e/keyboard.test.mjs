// Every flow of the web UI by keyboard alone.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { comesBack, eventually, password, startBrowser, startServer, visit } from "./harness.mjs";
import { choose, come, menu, pick, press, reach, save, type } from "./keyboard.mjs";

let server, browser, certificate, admin, operator, approver;
before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
  certificate = server.certificates.find((c) => c.key_algorithm === "RSA-2048" && c.has_private_key);
  [admin, operator, approver] = [await come(browser, server, "admin"), await come(browser, server, "operator"), await come(browser, server, "approver")];
});
beforeEach(() => server.setPolicy({ allow_key_export: false, approval: { mode: "key_export", required_approvals: 1, ttl_seconds: 3600, claim_window_seconds: 3600 } }));
after(async () => {
  await browser?.close();
  await server?.stop();
});

const focused = (what, locator) => eventually(`the focus is on ${what}`, () => locator.evaluate((e) => e === document.activeElement));

/** After what removes or disables the button that did it, the focus is on what came of it. */
const held = (page) => eventually("something has the focus", () => page.evaluate(() => document.activeElement !== document.body && !document.activeElement.matches(":disabled")));

const closed = (page) => page.getByRole("dialog").waitFor({ state: "detached" });

function clean(...pages) {
  for (const page of pages) assert.deepEqual(page.complaints, []);
}

/** Opens the download dialog of the sample certificate and picks a file. */
async function wants(page, file) {
  await press(page, "link", "Certificates");
  await press(page, "link", certificate.name);
  await press(page, "button", "Download");
  await pick(page, /^cert.pem/, file);
}

async function asks(page, file, reason) {
  await wants(page, file);
  await type(page, "textbox", /^Reason/, reason);
  await press(page, "button", "Ask for approval");
  await press(page, "link", "Show the request");
  await page.getByText("It waits for approval.").waitFor();
}

/** Opens the approval that alone is in the inbox. */
async function considers(page) {
  await press(page, "link", /^Approvals/);
  await press(page, "link", certificate.name);
  await page.getByRole("heading", { name: "Decisions" }).waitFor();
}

test("a certificate is searched, and a file downloaded", async () => {
  await type(operator, "searchbox", "Search certificates", "nothing is called so");
  await operator.getByText("No certificate matches").waitFor();
  await type(operator, "searchbox", "Search certificates", certificate.name);
  const search = operator.getByRole("searchbox");
  await eventually("no letter is lost on the way to the address", () => new URL(operator.url()).searchParams.get("q") === certificate.name);
  assert.equal(await search.inputValue(), certificate.name);
  await press(operator, "link", "Certificates");
  await eventually("the search is over", async () => (await search.inputValue()) === "");
  await wants(operator, /^fullchain.pem/);
  await press(operator, "button", "Generate download link");
  const dialog = operator.getByRole("dialog");
  const alert = dialog.getByRole("status");
  await focused("the outcome", alert.filter({ hasText: "Your link is ready" }));
  assert.equal((await save(operator, /^Download fullchain.pem/)).suggestedFilename(), "fullchain.pem");
  await focused("the outcome", alert.filter({ hasText: "was downloaded" }));
  await operator.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  await focused("what opened the dialog", operator.getByRole("button", { name: "Download" }));
  clean(operator);
});

test("a file is asked for, approved, and fetched with a passphrase", async () => {
  await asks(operator, /^bundle.pkcs12/, "the mail gateway");
  await considers(approver);
  await type(approver, "textbox", "Comment", "go ahead");
  await press(approver, "button", "Approve");
  await approver.getByText("approver approved it").waitFor();
  await focused("the decisions", approver.getByRole("heading", { name: "Decisions" }));
  await operator.getByText("It is approved.").waitFor();
  await type(operator, "textbox", "Passphrase", "four words and more");
  await press(operator, "button", "Toggle password visibility", "Space");
  assert.equal(await operator.getByRole("textbox", { name: "Passphrase" }).getAttribute("type"), "text");
  await press(operator, "button", "Generate download link");
  await focused("the outcome", operator.getByRole("status").filter({ hasText: "Your link is ready" }));
  assert.equal((await save(operator, /^Download bundle.pkcs12/)).suggestedFilename(), "bundle.pkcs12");
  await operator.getByText("bundle.pkcs12 was downloaded").waitFor();
  clean(operator, approver);
});

test("a request is denied with a comment, and another is cancelled", async () => {
  await asks(operator, /^key.pem/, "just in case");
  await considers(approver);
  await press(approver, "button", "Deny");
  await approver.getByText("Say why you deny it.").waitFor();
  await type(approver, "textbox", "Comment", "not for this host", "Shift+Tab");
  await press(approver, "button", "Deny");
  await operator.getByText("not for this host").first().waitFor();
  await press(approver, "link", /^Approvals/);
  await press(approver, "tab", /^Pending/, "ArrowRight");
  await approver.getByRole("row").filter({ hasText: "just in case" }).getByText("Denied").waitFor();

  await asks(operator, /^key.pem/, "changed my mind");
  await press(operator, "button", "Cancel the request");
  await focused("the outcome", operator.getByRole("status").filter({ hasText: "You cancelled the request." }));
  clean(operator, approver);
});

test("a link is revoked from its request, which is found by its state", async () => {
  await wants(operator, /^cert.pem/);
  await press(operator, "button", "Generate download link");
  const link = await (await reach(operator, "textbox", "Link")).inputValue();
  await operator.keyboard.press("Escape");
  await closed(operator);
  await press(operator, "link", "Requests");
  await choose(operator, "State", "Denied");
  await operator.getByRole("link", { name: "cert.pem", exact: true }).waitFor({ state: "detached" });
  await press(operator, "button", "Clear State");
  await press(operator, "link", "cert.pem");
  await press(operator, "button", "Revoke the link");
  await focused("the outcome", operator.getByRole("status").filter({ hasText: "The link was revoked before anybody used it." }));
  assert.equal((await fetch(link)).status, 410);
  clean(operator);
});

test("the policy is changed", async () => {
  await press(admin, "link", "Certificate policy");
  await press(admin, "switch", /^Private keys may be downloaded/, "Space");
  await press(admin, "button", "Save");
  await press(admin, "button", "Change the policy");
  await admin.getByText("The policy is saved and in force.").waitFor();
  await closed(admin);
  await focused("what the policy comes to", admin.getByRole("alert").filter({ hasText: "What this comes to" }));
  assert.equal((await server.call("admin", "GET", server.project + "/certificate-policy")).allow_key_export, true);
  clean(admin);
});

test("an API key is made and revoked", async () => {
  await press(admin, "link", "API keys");
  await press(admin, "button", "Make an API key");
  const name = admin.getByRole("textbox", { name: "Name" });
  await focused("the first field", name);
  await admin.keyboard.type("deploy-web-1");
  await choose(admin, "Role", /^Viewer/);
  await choose(admin, "Expires", "In 7 days");
  await press(admin, "button", "Make it");
  await admin.getByText("shown here and never again").waitFor();
  await reach(admin, "button", "Copy the secret");
  await press(admin, "button", "Done");
  await closed(admin);
  await focused("what opened the dialog", admin.getByRole("button", { name: "Make an API key" }));
  await press(admin, "button", "Revoke deploy-web-1");
  await press(admin, "button", "Revoke");
  const row = admin.getByRole("row", { name: /deploy-web-1/ });
  await row.getByText("revoked").waitFor();
  await row.getByText("viewer").waitFor();
  await closed(admin);
  await held(admin);
  clean(admin);
});

test("a member is added, given another role, and removed", async () => {
  await server.call("admin", "POST", "/users", { username: "nora", name: "Nora New", password });
  await press(admin, "link", "Members");
  await press(admin, "button", "Add a member");
  await type(admin, "combobox", "User", "nora");
  await choose(admin, "User", /^Nora New/);
  await choose(admin, "Role", /^Operator/);
  await press(admin, "button", "Add");
  const row = admin.getByRole("row", { name: /Nora New/ });
  await row.getByText("operator", { exact: true }).waitFor();
  await closed(admin);
  await press(admin, "button", "Change role of Nora New");
  await choose(admin, "Role", /^Approver/);
  await press(admin, "button", "Change");
  await row.getByText("approver", { exact: true }).waitFor();
  await closed(admin);
  await press(admin, "button", "Remove Nora New");
  await press(admin, "button", "Remove");
  await row.waitFor({ state: "detached" });
  await closed(admin);
  await held(admin);
  clean(admin);
});

test("a plugin is reloaded, and the audit log says so", async () => {
  await press(admin, "link", "Plugins");
  await press(admin, "button", "Reload pem");
  await press(admin, "button", "Reload");
  await admin.getByText(/The plugin pem is running/).waitFor();
  await closed(admin);
  await press(admin, "link", "Audit");
  await pick(admin, /./, "Users and plugins");
  await admin.waitForURL(/chain=system/);
  await type(admin, "combobox", "Action", "reload");
  await choose(admin, "Action", "Plugin reloaded");
  await press(admin, "button", "Show these");
  await admin.waitForURL(/chain=system.*action=|action=.*chain=system/);
  await eventually("only this is shown", async () => (await admin.getByRole("row").count()) === 2);
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
  clean(admin);
});

test("a user is made, gets a password, and is disabled", async () => {
  await press(admin, "link", "Users");
  await press(admin, "button", "Make a user");
  await focused("the first field", admin.getByRole("textbox", { name: "Username" }));
  await admin.keyboard.type("uma");
  await type(admin, "textbox", "Name", "Uma User");
  await press(admin, "button", "Make");
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
  clean(admin);
});

test("the audit log is verified and exported", async () => {
  await press(admin, "link", "Audit");
  const [download] = await Promise.all([admin.waitForEvent("download"), press(admin, "button", "Export NDJSON")]);
  assert.match(download.suggestedFilename(), /\.ndjson$/);
  await press(admin, "button", "Verify the whole log");
  await admin.getByText(/^The log is whole/).waitFor();
  clean(admin);
});

test("two administrators' changes are brought together", async () => {
  await press(admin, "link", "Certificate policy");
  await type(admin, "textbox", "Shortest passphrase", "20");
  await server.setPolicy({ min_passphrase_length: 16 });
  await press(admin, "button", "Save");
  await press(admin, "button", "Change the policy");
  await admin.getByRole("dialog", { name: "Somebody changed the policy meanwhile" }).waitFor();
  await pick(admin, /^Yours/, /^Theirs/);
  await press(admin, "button", "Go on");
  await closed(admin);
  assert.equal((await server.call("admin", "GET", server.project + "/certificate-policy")).min_passphrase_length, 16);
  clean(admin);
});

test("who signs in again goes on where they were", async () => {
  await wants(operator, /^cert.pem/);
  await type(operator, "textbox", /^Reason/, "kept");
  const elsewhere = await come(browser, server, "operator");
  await menu(elsewhere, "operator", "Sign out everywhere");
  await elsewhere.getByRole("heading", { name: "Sign in to Countersign" }).waitFor();
  const over = await comesBack(operator);
  await focused("the password", over.getByRole("textbox", { name: "Password" }));
  await operator.keyboard.type(password);
  await operator.keyboard.press("Enter");
  await over.waitFor({ state: "detached" });
  assert.equal(await operator.getByRole("textbox", { name: /^Reason/ }).inputValue(), "kept");
  await press(operator, "button", "Generate download link");
  await operator.getByText("Your link is ready").waitFor();
  await operator.keyboard.press("Escape");
  await closed(operator);
  clean(operator);
});

test("project and colours are switched", async () => {
  const other = await server.call("admin", "POST", "/projects", { name: "Another project" });
  await admin.reload(); // it was made elsewhere
  await choose(admin, "Project", "Another project");
  await admin.waitForURL(`**/projects/${other.id}/certificates`);
  await admin.getByText("There are no certificates yet").waitFor();
  for (const scheme of ["dark", "light"]) {
    await press(admin, "button", `Use ${scheme} colours`);
    await admin.locator(`html[data-mantine-color-scheme=${scheme}]`).waitFor();
  }
  clean(admin);
});

test("who is in no project can sign out", async () => {
  await server.call("admin", "POST", "/users", { username: "lone", name: "Lone", password });
  const page = await visit(browser, server);
  await type(page, "textbox", "Username", "lone");
  await type(page, "textbox", "Password", password);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "You are in no project yet" }).waitFor();
  await press(page, "button", "Sign out");
  await page.getByRole("heading", { name: "Sign in to Countersign" }).waitFor();
  clean(page);
});

test("one's own password is changed, and one signs out", async () => {
  await menu(approver, "approver", /^Your account/);
  await type(approver, "textbox", "Current password", password);
  for (const label of ["New password", "New password again"]) await type(approver, "textbox", label, "a password of some length");
  await press(approver, "button", "Change password");
  await focused("the outcome", approver.getByRole("status").filter({ hasText: "Your other sessions are ended." }));
  await menu(approver, "approver", "Sign out");
  await approver.getByRole("heading", { name: "Sign in to Countersign" }).waitFor();
  await type(approver, "textbox", "Username", "approver");
  await type(approver, "textbox", "Password", "a password of some length");
  await approver.keyboard.press("Enter");
  await approver.getByRole("heading", { name: "Certificates" }).waitFor();
  clean(approver);
});
