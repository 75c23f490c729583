// Requests and approvals: two people, each in a browser of their own, and no reload.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, beforeEach, test } from "node:test";
import { signIn, startBrowser, startServer } from "./harness.mjs";

const passphrase = "four words and more";
const policy = { allow_key_export: false, token_ttl_seconds: 300 };
const approval = { mode: "key_export", required_approvals: 1, ttl_seconds: 3600, claim_window_seconds: 3600 };

let server, browser, certificate, operator, approver;
before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
  certificate = server.certificates.find((c) => c.key_algorithm === "RSA-2048" && c.has_private_key);
  operator = await signIn(browser, server, "operator");
  approver = await signIn(browser, server, "approver");
});
beforeEach(() => server.setPolicy({ ...policy, approval }));
after(async () => {
  await browser?.close();
  await server?.stop();
});

const at = (page, path) => page.goto(server.url + server.project + path);

/** Asks for a file in the download dialog, and goes to the request. */
async function ask(page, format, reason) {
  await at(page, `/certificates/${certificate.id}`);
  await page.getByRole("button", { name: "Download" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("radio", { name: new RegExp(`^${format}`) }).check();
  await dialog.getByLabel("Reason").fill(reason);
  await dialog.getByRole("button", { name: "Ask for approval" }).click();
  await dialog.getByRole("link", { name: "Show the request" }).click();
  await page.getByText("It waits for approval.").waitFor();
  return page.url().split("/").at(-1);
}

/** Opens the approval of a reason from the inbox, in which it appears by itself. */
async function openApproval(page, reason) {
  const row = page.getByRole("row").filter({ hasText: reason });
  await row.getByRole("link", { name: certificate.name }).click();
  await page.getByRole("heading", { name: "Decisions" }).waitFor();
}

async function decide(page, decision, comment) {
  await page.getByLabel("Comment").fill(comment);
  await page.getByRole("button", { name: decision, exact: true }).click();
}

async function save(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: /^Download / }).click()]);
  return download.path();
}

const openssl = (...args) => execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

function clean(...pages) {
  for (const page of pages) assert.deepEqual(page.complaints, []);
}

test("a private key leaves once somebody else approved it", async () => {
  await at(approver, "/approvals");
  await approver.getByText("Nothing waits for a decision").waitFor();
  await ask(operator, "key.pem", "move to the new host");
  await approver.getByRole("tab", { name: "Pending (1)" }).waitFor();
  await approver.getByLabel("1 waiting").waitFor();
  await openApproval(approver, "move to the new host");
  await approver.getByText("The private key leaves the system").waitFor();
  for (const name of ["Host names", "SHA-256 fingerprint", "Digest of all this", "Expires", "Options"]) await approver.getByRole("rowheader", { name }).waitFor();
  await approver.getByText("this is the first request in this project").waitFor();
  await decide(approver, "Approve", "go ahead");
  await approver.getByText("approver approved it").waitFor();
  assert.equal(await approver.getByRole("button", { name: "Approve", exact: true }).count(), 0);

  await operator.getByText("It is approved.").waitFor(); // by itself
  await operator.getByText("go ahead").waitFor();
  await operator.getByRole("button", { name: "Generate download link" }).click();
  await operator.getByText("Your link is ready").waitFor();
  const key = await save(operator);
  assert.match(openssl("pkey", "-in", key, "-noout", "-text"), /Private-Key: \(2048 bit/);
  await operator.getByText("key.pem was downloaded").waitFor();
  await operator.getByText("from 127.0.0.1").waitFor();
  await operator.getByText("Downloaded", { exact: true }).waitFor();
  clean(operator, approver);
});

test("two people approve a PKCS#12 file, whose passphrase comes with the claim", async () => {
  await server.setPolicy({ ...policy, approval: { ...approval, required_approvals: 2 } });
  const second = await signIn(browser, server, "approver2");
  await Promise.all([at(approver, "/approvals"), at(second, "/approvals")]);
  await ask(operator, "bundle.pkcs12", "the mail gateway");
  for (const page of [approver, second]) await openApproval(page, "the mail gateway");
  await decide(approver, "Approve", "");
  await second.getByText("approver approved it").waitFor(); // by itself
  await second.getByText(/^Waits for One of: .*you/).waitFor();
  await operator.getByText("approver approved it").waitFor();
  assert.equal(await operator.getByLabel("Passphrase").count(), 0); // not yet
  await decide(second, "Approve", "");
  const generate = operator.getByRole("button", { name: "Generate download link" });
  await generate.waitFor();
  assert.equal(await generate.isDisabled(), true);
  await operator.getByRole("textbox", { name: "Passphrase" }).fill(passphrase);
  await generate.click();
  const file = await save(operator);
  assert.match(openssl("pkcs12", "-in", file, "-passin", `pass:${passphrase}`, "-noenc"), /BEGIN PRIVATE KEY/);
  await operator.getByText("bundle.pkcs12 was downloaded").waitFor();
  await second.context().close();
  clean(operator, approver, second);
});

test("a denial needs a comment, which the requester sees", async () => {
  await at(approver, "/approvals");
  await ask(operator, "key.pem", "just in case");
  await openApproval(approver, "just in case");
  await approver.getByRole("button", { name: "Deny", exact: true }).click();
  await approver.getByText("Say why you deny it.").waitFor();
  await decide(approver, "Deny", "not for this host");
  await approver.getByText("approver denied it").waitFor();
  await operator.getByText("The request was denied").waitFor();
  await operator.getByText("not for this host").first().waitFor();
  await at(approver, "/approvals?show=settled");
  await approver.getByRole("row").filter({ hasText: "just in case" }).getByText("Denied").waitFor();
  clean(operator, approver);
});

test("what nobody decides in time lapses before everybody's eyes", async () => {
  await server.setPolicy({ ...policy, approval: { ...approval, ttl_seconds: 8 } });
  await at(approver, "/approvals");
  await ask(operator, "key.pem", "no hurry");
  await openApproval(approver, "no hurry");
  await operator.getByText("Too few people approved it in time.").waitFor();
  await approver.getByText("Lapsed", { exact: true }).waitFor();
  assert.equal(await approver.getByRole("button", { name: "Approve", exact: true }).count(), 0);
  clean(operator, approver);
});

test("nobody approves their own request, and operators approve none", async () => {
  const rid = await ask(approver, "key.pem", "for myself");
  await approver.getByRole("link", { name: "What approvers see" }).click();
  await approver.getByText("You asked for this yourself").waitFor();
  const aid = approver.url().split("/").at(-1);
  assert.equal(await approver.getByRole("button", { name: /^(Approve|Deny)$/ }).count(), 0);
  await at(approver, "/requests?status=pending_approval");
  await approver.getByRole("row", { name: /key.pem/ }).getByText(/One of: .*Ben Approver/).waitFor();
  await assert.rejects(server.call("approver", "POST", `${server.project}/approvals/${aid}/approve`, {}), /self_approval/);

  await ask(operator, "key.pem", "for the operator");
  await operator.getByRole("link", { name: "What approvers see" }).click();
  await operator.getByRole("heading", { name: "Decisions" }).waitFor();
  assert.equal(await operator.getByRole("button", { name: /^(Approve|Deny)$/ }).count(), 0);
  await at(operator, `/requests/${rid}`); // of somebody else
  await operator.getByRole("alert").waitFor();
  clean(operator, approver);
});

test("a request is cancelled while it waits, and everybody's are filtered", async () => {
  const rid = await ask(operator, "key.pem", "changed my mind");
  await operator.getByRole("button", { name: "Cancel the request" }).click();
  await operator.getByText("You cancelled the request.").waitFor();
  await at(approver, "/requests?status=cancelled");
  await approver.getByText("No request is in this state").waitFor();
  await approver.getByText("Everybody's").click();
  await approver.waitForURL(/status=cancelled&who=all/);
  await approver.getByRole("row").filter({ hasText: "operator" }).getByRole("link", { name: "key.pem" }).first().click();
  await approver.waitForURL(new RegExp(rid));
  await approver.getByText("operator cancelled the request.").waitFor();
  clean(operator, approver);
});

test("an unused link is revoked from its request", async () => {
  await at(operator, `/certificates/${certificate.id}?download`);
  const dialog = operator.getByRole("dialog");
  await dialog.getByRole("radio", { name: /^cert.pem/ }).check();
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  const link = await dialog.getByLabel("Link", { exact: true }).inputValue();
  await at(operator, "/requests?status=issued");
  await operator.getByRole("link", { name: "cert.pem" }).first().click();
  await operator.getByText("A link was made that works once").waitFor();
  await operator.getByRole("button", { name: "Revoke the link" }).click();
  await operator.getByText("The link was revoked before anybody used it.").waitFor();
  assert.equal((await fetch(link)).status, 410);
  clean(operator);
});
