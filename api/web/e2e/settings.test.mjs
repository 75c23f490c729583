// Administration: the policy and its conflicts, the audit log, plugins, users and
// API keys.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { assertNoComplaints, eventually, password, returnTo, signIn } from "./harness.mjs";
import { closePages, defaultPolicy, shared } from "./shared.mjs";

describe("settings", () => {
  const newPassword = "a password of some length";

  let server, browser, admin;
  before(async () => {
    [server, browser] = await shared();
    await server.setPolicy(defaultPolicy);
    admin = await signIn(browser, server, "admin");
  });
  after(closePages);

  const open = async (page, at, heading) => {
    await page.goto(server.url + server.project + at);
    await page.getByRole("heading", { level: 1, name: heading }).waitFor();
  };
  const readPolicy = () => server.call("admin", "GET", server.project + "/certificate-policy");
  const status = async (secret) => (await fetch(server.url + "/api/v1/me", { headers: { Authorization: `Bearer ${secret}` } })).status;
  const group = (page, name) => page.getByRole("group", { name });

  test("a change of the policy is confirmed, and applies to other users immediately", async () => {
    const operator = await signIn(browser, server, "operator");
    const { name } = server.certificates.find((c) => c.has_private_key);
    await operator.getByRole("link", { name, exact: true }).click();
    await operator.getByRole("button", { name: "Download" }).click();
    const dialog = operator.getByRole("dialog");
    await dialog.getByRole("radio", { name: /^key.pem/ }).check();
    await dialog.getByText("Denied by policy").waitFor();

    await open(admin, "/settings/policy", "Certificate Policy");
    const save = admin.getByRole("button", { name: "Save changes" });
    assert.equal(await save.isDisabled(), true);
    await admin.getByLabel("Allow key export").check();
    const lifetime = group(admin, "Link lifetime");
    await lifetime.getByLabel("Amount").fill("61");
    await lifetime.getByText("Enter a time from 1 second to 1 hour.").waitFor();
    await save.click();
    assert.equal(await admin.getByRole("dialog").count(), 0); // the error is shown at its field, which gets the focus
    await eventually("the field is focused", () => lifetime.getByLabel("Amount").evaluate((e) => e === document.activeElement));
    await lifetime.getByLabel("Amount").fill("120");
    await lifetime.getByRole("combobox", { name: "Unit" }).click();
    await admin.getByRole("option", { name: "seconds" }).click();
    await save.click();
    const confirmation = admin.getByRole("dialog", { name: "Change the policy?" });
    await confirmation.getByRole("row", { name: "Allow key export No Yes" }).waitFor();
    await confirmation.getByRole("row", { name: "Link lifetime 5 minutes 2 minutes" }).waitFor();
    assert.equal(await confirmation.getByRole("row").count(), 3);
    assert.equal((await readPolicy()).allow_key_export, false); // not changed yet
    await confirmation.getByRole("button", { name: "Change policy" }).click();
    await admin.getByText("The policy was changed.").waitFor();
    const changed = await readPolicy();
    assert.deepEqual([changed.allow_key_export, changed.token_ttl_seconds], [true, 120]);

    await dialog.getByText("Allowed by policy.").waitFor(); // without a reload
    await operator.getByRole("button", { name: "Close" }).click();
    await open(operator, "/settings/policy", "Certificate Policy");
    await operator.getByText("Operators can download every file without approval, private keys included.").waitFor();
    await operator.getByRole("row", { name: /^Link lifetime.* 2 minutes$/ }).waitFor();
    assert.equal(await operator.getByRole("button", { name: "Save changes" }).count(), 0);
    assertNoComplaints(operator, admin);
  });

  test("two administrators who change the policy at once lose nothing", async () => {
    const other = await signIn(browser, server, "admin");
    await Promise.all([open(admin, "/settings/policy", "Certificate Policy"), open(other, "/settings/policy", "Certificate Policy")]);
    const change = async (page, length, approvals) => {
      await page.getByLabel("Minimum passphrase length").fill(length);
      if (approvals) await page.getByLabel("Approvals needed").fill(approvals);
    };
    const confirm = async (page) => {
      await page.getByRole("button", { name: "Save changes" }).click();
      await page.getByRole("button", { name: "Change policy" }).click();
    };
    await change(admin, "20", "2");
    await change(other, "16");
    await group(other, "Time to decide").getByLabel("Amount").fill("3");
    await confirm(other);
    await other.getByText("The policy was changed.").waitFor();
    await confirm(admin);

    const conflict = admin.getByRole("dialog", { name: "Somebody else changed the policy" });
    await conflict.waitFor();
    const values = (name) => conflict.getByRole("radiogroup", { name });
    assert.equal(await values("Approvals needed").getByRole("radio", { name: "Yours: 2 people" }).isChecked(), true);
    assert.equal(await values("Time to decide").getByRole("radio", { name: "Theirs: 3 days" }).isChecked(), true);
    assert.equal(await values("Minimum passphrase length").getByRole("radio", { name: "Yours: 20 characters" }).isChecked(), true);
    await values("Minimum passphrase length").getByRole("radio", { name: "Theirs: 16 characters" }).check();
    await conflict.getByRole("button", { name: "Continue" }).click();
    const confirmation = admin.getByRole("dialog", { name: "Change the policy?" });
    await confirmation.getByRole("row", { name: "Approvals needed 1 person 2 people" }).waitFor();
    assert.equal(await confirmation.getByRole("row").count(), 2);
    await confirmation.getByRole("button", { name: "Change policy" }).click();
    await confirmation.waitFor({ state: "hidden" });
    const changed = await readPolicy();
    assert.deepEqual([changed.approval.required_approvals, changed.approval.ttl_seconds, changed.min_passphrase_length], [2, 3 * 86_400, 16]);
    assert.equal(await group(admin, "Time to decide").getByLabel("Amount").inputValue(), "3");
    assertNoComplaints(other, admin);
    await other.context().close();
  });

  test("an API key is created, used and revoked", async () => {
    await open(admin, "/api-keys", "API keys");
    await admin.getByRole("button", { name: "Create API key" }).click();
    const dialog = admin.getByRole("dialog", { name: "Create API key" });
    await dialog.getByLabel("Name").fill("deploy-web-1");
    await dialog.getByRole("button", { name: "Create" }).click();
    await dialog.getByText("it is not shown again").waitFor();
    const secret = await dialog.locator("code").innerText();
    assert.equal(await status(secret), 200);
    await dialog.getByRole("button", { name: "Done" }).click();
    await dialog.waitFor({ state: "hidden" });
    const row = admin.getByRole("row", { name: /deploy-web-1/ });
    await row.getByText(/Active, expires/).waitFor();
    const storage = await admin.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href, document.body.innerHTML]));
    assert.equal(storage.includes(secret), false);
    await row.getByRole("button", { name: "Revoke deploy-web-1" }).click();
    await admin.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
    await row.getByText("Revoked").waitFor();
    assert.equal(await status(secret), 401);
    assertNoComplaints(admin);
  });

  test("a user is created, becomes a member, changes role, and is removed", async () => {
    await open(admin, "/users", "Users");
    await admin.getByRole("button", { name: "Create user" }).click();
    const creation = admin.getByRole("dialog");
    await creation.getByLabel("Username").fill("nora");
    await creation.getByLabel("Name", { exact: true }).fill("Nora New");
    await creation.getByRole("textbox", { name: "Password" }).fill(password);
    await creation.getByRole("button", { name: "Create", exact: true }).click();
    await admin.getByRole("row", { name: /Nora New/ }).waitFor();

    await open(admin, "/members", "Members");
    await admin.getByRole("button", { name: "Add member" }).click();
    const addition = admin.getByRole("dialog");
    await addition.getByRole("combobox", { name: "User" }).fill("nora");
    await admin.getByRole("option", { name: "Nora New (nora)" }).click();
    await addition.getByRole("button", { name: "Add", exact: true }).click();
    const row = admin.getByRole("row", { name: /Nora New/ });
    await row.getByText("viewer", { exact: true }).waitFor();
    const nora = await signIn(browser, server, "nora");
    assert.equal(await nora.getByRole("link", { name: "Requests" }).count(), 0);

    await row.getByRole("button", { name: "Change role of Nora New" }).click();
    const change = admin.getByRole("dialog");
    await change.getByRole("combobox", { name: "Role" }).click();
    await admin.getByRole("option", { name: /^Operator/ }).click();
    await change.getByRole("button", { name: "Change", exact: true }).click();
    await row.getByText("operator", { exact: true }).waitFor();
    await nora.reload();
    await nora.getByRole("link", { name: "Requests" }).waitFor();

    await row.getByRole("button", { name: "Remove Nora New" }).click();
    await admin.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
    await row.waitFor({ state: "detached" });
    await nora.getByRole("link", { name: "Members" }).click();
    await nora.getByRole("alert").waitFor();
    await nora.goto(server.url);
    await nora.getByText("You are not a member of any project").waitFor();
    assertNoComplaints(nora, admin);
  });

  test("a disabled user is signed out immediately", async () => {
    const viewer = await signIn(browser, server, "viewer");
    assert.equal(await status(server.api_keys.viewer), 200);
    await open(admin, "/users", "Users");
    await admin.getByRole("button", { name: "Disable Vera Viewer" }).click();
    await admin.getByRole("dialog").getByRole("button", { name: "Disable" }).click();
    await admin.getByRole("button", { name: "Enable Vera Viewer" }).waitFor();
    assert.equal(await status(server.api_keys.viewer), 401);
    const dialog = await returnTo(viewer);
    await dialog.getByRole("textbox", { name: "Password" }).fill(password);
    await dialog.getByRole("button", { name: "Sign in" }).click();
    await dialog.getByRole("alert").waitFor();
    assertNoComplaints(viewer, admin);
  });

  test("users change their own password", async () => {
    const [here, elsewhere] = [await signIn(browser, server, "approver2", { fresh: true }), await signIn(browser, server, "approver2", { fresh: true })];
    await here.getByRole("button", { name: "Signed in as approver2" }).click();
    await here.getByRole("menuitem", { name: /^Your account/ }).click();
    const change = async (current, next) => {
      for (const [label, value] of [["Current password", current], ["New password", next], ["New password again", next]]) await here.getByRole("textbox", { name: label, exact: true }).fill(value);
      await here.getByRole("button", { name: "Change password" }).click();
    };
    await change("not the password at all", newPassword);
    await here.getByText("wrong password").waitFor();
    await change(password, newPassword);
    await here.getByText("Your other sessions have ended.").waitFor();
    await returnTo(elsewhere);
    await change(newPassword, password); // this session continues
    await here.getByText("Your other sessions have ended.").waitFor();
    assertNoComplaints(here, elsewhere);
  });

  test("a plugin is reloaded, and the log of users and plugins has an entry", async () => {
    await open(admin, "/plugins", "Plugins");
    const plugin = admin.getByRole("region", { name: "pem" });
    await plugin.getByText("running").waitFor();
    await plugin.getByText(/^[0-9a-f]{64}$/).waitFor();
    await plugin.getByRole("button", { name: "Reload pem" }).click();
    await admin.getByRole("dialog", { name: "Reload the plugin pem?" }).getByRole("button", { name: "Reload" }).click();
    await admin.getByText(/The plugin pem is running/).waitFor();
    await open(admin, "/audit?chain=system&action=plugin.reloaded", "Audit log");
    await admin.getByRole("row", { name: /Plugin reloaded success/ }).first().waitFor();
    assertNoComplaints(admin);
  });

  test("the audit log is filtered, exported and verified", async () => {
    for (const min_passphrase_length of [8, 9]) await server.setPolicy({ min_passphrase_length });
    await open(admin, "/audit", "Audit log");
    await admin.getByRole("combobox", { name: "Event" }).fill("policy");
    await admin.getByRole("option", { name: "Policy changed" }).click();
    await admin.getByRole("combobox", { name: "Person" }).click();
    await admin.getByRole("option", { name: /^Alma Admin/ }).click();
    await admin.getByRole("button", { name: "Apply" }).click();
    await admin.waitForURL(/action=policy.updated&actor=user_/);
    const rows = admin.getByRole("row", { name: /Policy changed/ });
    await eventually("only matching entries are shown", async () => (await admin.getByRole("row").count()) === 1 + (await rows.count()) && (await rows.count()) >= 2);
    const shown = await rows.count();

    const exported = async (name) => {
      const [download] = await Promise.all([admin.waitForEvent("download"), admin.getByRole("button", { name }).click()]);
      return readFileSync(await download.path(), "utf8").trim().split("\n");
    };
    const lines = (await exported("Export NDJSON")).map((line) => JSON.parse(line));
    assert.deepEqual([lines.length, new Set(lines.map((l) => l.action))], [shown, new Set(["policy.updated"])]);
    assert.equal((await exported("Export CSV")).length, shown + 1);

    await admin.getByRole("link", { name: `Entry ${lines[0].seq}`, exact: true }).click();
    const entry = admin.getByRole("dialog", { name: `Audit entry ${lines[0].seq}` });
    for (const value of [lines[0].hash, lines[0].prev_hash, ...Object.values(lines[0].detail)]) await entry.getByText(value, { exact: true }).first().waitFor();
    await admin.reload(); // the address names the entry
    await entry.getByText(lines[0].hash, { exact: true }).waitFor();
    await entry.getByRole("button", { name: "Close" }).click();
    await entry.waitFor({ state: "hidden" });
    assert.equal(await rows.count(), shown);

    const from = new Date(lines[0].time);
    await open(admin, `/audit?from=${new Date(from.getTime() + 3_600_000).toISOString()}`, "Audit log");
    await admin.getByText("No entry matches").waitFor();
    await admin.getByRole("button", { name: "Clear", exact: true }).click();
    await rows.first().waitFor();

    await admin.getByRole("button", { name: "Verify now" }).click();
    const { entries } = await server.call("admin", "GET", server.project + "/audit-logs/verify");
    await admin.getByText(`Chain intact: ${entries} entries`).waitFor();

    const tamper = "import sqlite3,sys; d=sqlite3.connect(sys.argv[1], timeout=30); d.execute(\"UPDATE audit_logs SET doc=replace(doc,'success','refused') WHERE seq=5 AND project_id=?\", (sys.argv[2],)); d.commit()";
    execFileSync("python3", ["-c", tamper, join(server.dir, "data/db/countersign.db"), server.project_id]);
    await admin.getByRole("button", { name: "Verify now" }).click();
    await admin.getByText("Chain broken at entry 5").waitFor();
    await admin.getByText("The 4 entries before it are intact.").waitFor();
    assertNoComplaints(admin);
  });
});
