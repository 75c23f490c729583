// Administration: the policy and its conflicts, the audit log, plugins, people and keys.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { comesBack, eventually, signIn, startBrowser, startServer } from "./harness.mjs";

const newPassword = "a password of some length";

let server, browser, admin;
before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
  admin = await signIn(browser, server, "admin");
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const open = async (page, at, heading) => {
  await page.goto(server.url + server.project + at);
  await page.getByRole("heading", { level: 1, name: heading }).waitFor();
};
const policyOf = () => server.call("admin", "GET", server.project + "/certificate-policy");
const status = async (secret) => (await fetch(server.url + "/api/v1/me", { headers: { Authorization: `Bearer ${secret}` } })).status;
const group = (page, name) => page.getByRole("group", { name });

test("a change of the policy is confirmed, and others feel it at once", async () => {
  const operator = await signIn(browser, server, "operator");
  const { name } = server.certificates.find((c) => c.has_private_key);
  await operator.getByRole("link", { name, exact: true }).click();
  await operator.getByRole("button", { name: "Download" }).click();
  const dialog = operator.getByRole("dialog");
  await dialog.getByRole("radio", { name: /^key.pem/ }).check();
  await dialog.getByText("The policy refuses this download").waitFor();

  await open(admin, "/settings/policy", "Certificate policy");
  const save = admin.getByRole("button", { name: "Save" });
  assert.equal(await save.isDisabled(), true);
  await admin.getByLabel("Private keys may be downloaded without approval").check();
  const life = group(admin, "Life of a download link");
  await life.getByLabel("Amount").fill("61");
  await life.getByText("From 1 second to 1 hour").waitFor();
  await save.click();
  assert.equal(await admin.getByRole("dialog").count(), 0); // out of bounds: shown at its field, and focused
  await eventually("the field is focused", () => life.getByLabel("Amount").evaluate((e) => e === document.activeElement));
  await life.getByLabel("Amount").fill("120");
  await life.getByRole("combobox", { name: "Unit" }).click();
  await admin.getByRole("option", { name: "seconds" }).click();
  await save.click();
  const asking = admin.getByRole("dialog", { name: "Change the policy?" });
  await asking.getByRole("row", { name: "Private keys may be downloaded without approval No Yes" }).waitFor();
  await asking.getByRole("row", { name: "Life of a download link 5 minutes 2 minutes" }).waitFor();
  assert.equal(await asking.getByRole("row").count(), 3);
  assert.equal((await policyOf()).allow_key_export, false); // not yet
  await asking.getByRole("button", { name: "Change the policy" }).click();
  await admin.getByText("The policy is saved and in force.").waitFor();
  const now = await policyOf();
  assert.deepEqual([now.allow_key_export, now.token_ttl_seconds], [true, 120]);

  await dialog.getByRole("radio", { name: /^cert.pem/ }).check();
  await dialog.getByRole("radio", { name: /^key.pem/ }).check();
  await dialog.getByText("The policy allows this download").waitFor();
  await operator.getByRole("button", { name: "Close" }).click();
  await open(operator, "/settings/policy", "Certificate policy");
  await operator.getByText("Operators download every file at once, private keys included.").waitFor();
  await operator.getByRole("row", { name: /^Life of a download link.* 2 minutes$/ }).waitFor();
  assert.equal(await operator.getByRole("button", { name: "Save" }).count(), 0);
  assert.deepEqual([operator.complaints, admin.complaints], [[], []]);
});

test("two administrators at once lose nothing", async () => {
  const other = await signIn(browser, server, "admin");
  await Promise.all([open(admin, "/settings/policy", "Certificate policy"), open(other, "/settings/policy", "Certificate policy")]);
  const change = async (page, shortest, people) => {
    await page.getByLabel("Shortest passphrase").fill(shortest);
    if (people) await page.getByLabel("How many people must approve").fill(people);
  };
  const confirm = async (page) => {
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("button", { name: "Change the policy" }).click();
  };
  await change(admin, "20", "2");
  await change(other, "16");
  await group(other, "Time to approve").getByLabel("Amount").fill("3");
  await confirm(other);
  await other.getByText("The policy is saved and in force.").waitFor();
  await confirm(admin);

  const conflict = admin.getByRole("dialog", { name: "Somebody changed the policy meanwhile" });
  await conflict.waitFor();
  const whose = (name) => conflict.getByRole("radiogroup", { name });
  assert.equal(await whose("How many people must approve").getByRole("radio", { name: "Yours: 2 people" }).isChecked(), true);
  assert.equal(await whose("Time to approve").getByRole("radio", { name: "Theirs: 3 days" }).isChecked(), true);
  assert.equal(await whose("Shortest passphrase").getByRole("radio", { name: "Yours: 20 characters" }).isChecked(), true);
  await whose("Shortest passphrase").getByRole("radio", { name: "Theirs: 16 characters" }).check();
  await conflict.getByRole("button", { name: "Go on" }).click();
  const asking = admin.getByRole("dialog", { name: "Change the policy?" });
  await asking.getByRole("row", { name: "How many people must approve 1 person 2 people" }).waitFor();
  assert.equal(await asking.getByRole("row").count(), 2);
  await asking.getByRole("button", { name: "Change the policy" }).click();
  await asking.waitFor({ state: "hidden" });
  const now = await policyOf();
  assert.deepEqual([now.approval.required_approvals, now.approval.ttl_seconds, now.min_passphrase_length], [2, 3 * 86_400, 16]);
  assert.equal(await group(admin, "Time to approve").getByLabel("Amount").inputValue(), "3");
  assert.deepEqual([other.complaints, admin.complaints], [[], []]);
  await other.context().close();
});

test("an API key is made, used and revoked", async () => {
  await open(admin, "/api-keys", "API keys");
  await admin.getByRole("button", { name: "Make an API key" }).click();
  const dialog = admin.getByRole("dialog", { name: "Make an API key" });
  await dialog.getByLabel("Name").fill("deploy-web-1");
  await dialog.getByRole("button", { name: "Make it" }).click();
  await dialog.getByText("shown here and never again").waitFor();
  const secret = await dialog.locator("code").innerText();
  assert.equal(await status(secret), 200);
  await dialog.getByRole("button", { name: "Done" }).click();
  await dialog.waitFor({ state: "hidden" });
  const row = admin.getByRole("row", { name: /deploy-web-1/ });
  await row.getByText(/works, expires/).waitFor();
  const storage = await admin.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href, document.body.innerHTML]));
  assert.equal(storage.includes(secret), false);
  await row.getByRole("button", { name: "Revoke deploy-web-1" }).click();
  await admin.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await row.getByText("revoked").waitFor();
  assert.equal(await status(secret), 401);
  assert.deepEqual(admin.complaints, []);
});

test("a user is made, becomes a member, changes role, and is removed", async () => {
  await open(admin, "/users", "Users");
  await admin.getByRole("button", { name: "Make a user" }).click();
  const making = admin.getByRole("dialog");
  await making.getByLabel("Username").fill("nora");
  await making.getByLabel("Name", { exact: true }).fill("Nora New");
  await making.getByRole("textbox", { name: "Password" }).fill("correct horse battery"); // the one of signIn
  await making.getByRole("button", { name: "Make", exact: true }).click();
  await admin.getByRole("row", { name: /Nora New/ }).waitFor();

  await open(admin, "/members", "Members");
  await admin.getByRole("button", { name: "Add a member" }).click();
  const adding = admin.getByRole("dialog");
  await adding.getByRole("combobox", { name: "User" }).fill("nora");
  await admin.getByRole("option", { name: "Nora New (nora)" }).click();
  await adding.getByRole("button", { name: "Add", exact: true }).click();
  const row = admin.getByRole("row", { name: /Nora New/ });
  await row.getByText("viewer", { exact: true }).waitFor();
  const nora = await signIn(browser, server, "nora");
  assert.equal(await nora.getByRole("link", { name: "Requests" }).count(), 0);

  await row.getByRole("button", { name: "Change role of Nora New" }).click();
  const changing = admin.getByRole("dialog");
  await changing.getByRole("combobox", { name: "Role" }).click();
  await admin.getByRole("option", { name: /^Operator/ }).click();
  await changing.getByRole("button", { name: "Change", exact: true }).click();
  await row.getByText("operator", { exact: true }).waitFor();
  await nora.reload();
  await nora.getByRole("link", { name: "Requests" }).waitFor();

  await row.getByRole("button", { name: "Remove Nora New" }).click();
  await admin.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await row.waitFor({ state: "detached" });
  await nora.getByRole("link", { name: "Members" }).click();
  await nora.getByRole("alert").waitFor();
  await nora.goto(server.url);
  await nora.getByText("You are in no project yet").waitFor();
  assert.deepEqual([nora.complaints, admin.complaints], [[], []]);
});

test("whoever is disabled is cut off at once", async () => {
  const viewer = await signIn(browser, server, "viewer");
  assert.equal(await status(server.api_keys.viewer), 200);
  await open(admin, "/users", "Users");
  await admin.getByRole("button", { name: "Disable Vera Viewer" }).click();
  await admin.getByRole("dialog").getByRole("button", { name: "Disable" }).click();
  await admin.getByRole("button", { name: "Enable Vera Viewer" }).waitFor();
  assert.equal(await status(server.api_keys.viewer), 401);
  const over = await comesBack(viewer);
  await over.getByRole("textbox", { name: "Password" }).fill("correct horse battery");
  await over.getByRole("button", { name: "Sign in" }).click();
  await over.getByRole("alert").waitFor();
  assert.deepEqual([viewer.complaints, admin.complaints], [[], []]);
});

test("one's own password", async () => {
  const [here, elsewhere] = [await signIn(browser, server, "approver2"), await signIn(browser, server, "approver2")];
  await here.getByRole("button", { name: "Signed in as approver2" }).click();
  await here.getByRole("menuitem", { name: /^Your account/ }).click();
  const change = async (current, next) => {
    for (const [label, value] of [["Current password", current], ["New password", next], ["New password again", next]]) await here.getByRole("textbox", { name: label, exact: true }).fill(value);
    await here.getByRole("button", { name: "Change password" }).click();
  };
  await change("not the password at all", newPassword);
  await here.getByText("wrong password").waitFor();
  await change("correct horse battery", newPassword);
  await here.getByText("Your other sessions are ended.").waitFor();
  await comesBack(elsewhere);
  await change(newPassword, "correct horse battery"); // this session goes on
  await here.getByText("Your other sessions are ended.").waitFor();
  assert.deepEqual([here.complaints, elsewhere.complaints], [[], []]);
});

test("a plugin is reloaded, and the log of users and plugins says so", async () => {
  await open(admin, "/plugins", "Plugins");
  const plugin = admin.getByRole("region", { name: "pem" });
  await plugin.getByText("running").waitFor();
  await plugin.getByText(/^[0-9a-f]{64}$/).waitFor();
  await plugin.getByRole("button", { name: "Reload pem" }).click();
  await admin.getByRole("dialog", { name: "Reload the plugin pem?" }).getByRole("button", { name: "Reload" }).click();
  await admin.getByText(/The plugin pem is running/).waitFor();
  await open(admin, "/audit?chain=system&action=plugin.reloaded", "Audit log");
  await admin.getByRole("row", { name: /Plugin reloaded success/ }).waitFor();
  assert.equal(await admin.getByRole("row").count(), 2);
  assert.deepEqual(admin.complaints, []);
});

test("the audit log is filtered, exported and verified", async () => {
  for (const min_passphrase_length of [8, 9]) await server.setPolicy({ min_passphrase_length });
  await open(admin, "/audit", "Audit log");
  await admin.getByRole("combobox", { name: "Action" }).fill("policy");
  await admin.getByRole("option", { name: "Policy changed" }).click();
  await admin.getByRole("combobox", { name: "Who" }).click();
  await admin.getByRole("option", { name: /^Alma Admin/ }).click();
  await admin.getByRole("button", { name: "Show these" }).click();
  await admin.waitForURL(/action=policy.updated&actor=user_/);
  const rows = admin.getByRole("row", { name: /Policy changed/ });
  await eventually("only these are shown", async () => (await admin.getByRole("row").count()) === 1 + (await rows.count()) && (await rows.count()) >= 2);
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
  for (const value of [lines[0].hash, lines[0].prev_hash, ...Object.values(lines[0].detail)]) await entry.getByText(value, { exact: true }).waitFor();
  await admin.reload(); // the address says which entry
  await entry.getByText(lines[0].hash, { exact: true }).waitFor();
  await entry.getByRole("button", { name: "Close" }).click();
  await entry.waitFor({ state: "hidden" });
  assert.equal(await rows.count(), shown);

  const from = new Date(lines[0].time);
  await open(admin, `/audit?from=${new Date(from.getTime() + 3_600_000).toISOString()}`, "Audit log");
  await admin.getByText("No entry matches").waitFor();
  await admin.getByRole("button", { name: "Show all" }).click();
  await rows.first().waitFor();

  await admin.getByRole("button", { name: "Verify the whole log" }).click();
  const { entries } = await server.call("admin", "GET", server.project + "/audit-logs/verify");
  await admin.getByText(`The log is whole: ${entries} entries`).waitFor();

  const tamper = "import sqlite3,sys; d=sqlite3.connect(sys.argv[1], timeout=30); d.execute(\"UPDATE audit_logs SET doc=replace(doc,'success','refused') WHERE seq=5 AND project=?\", (sys.argv[2],)); d.commit()";
  execFileSync("python3", ["-c", tamper, join(server.dir, "data/db/countersign.db"), server.project_id]);
  await admin.getByRole("button", { name: "Verify the whole log" }).click();
  await admin.getByText("The log is broken at entry 5").waitFor();
  await admin.getByText("The 4 entries before it are whole.").waitFor();
  assert.deepEqual(admin.complaints, []);
});
