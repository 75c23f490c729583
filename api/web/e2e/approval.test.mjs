// Requests and approvals: requester and approver each have a page, and neither
// reloads it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, beforeEach, describe, test } from "node:test";
import { assertNoComplaints, signIn } from "./harness.mjs";
import { closePages, defaultPolicy, shared } from "./shared.mjs";

describe("approval", () => {
  const passphrase = "four words and more";
  const approval = { mode: "key_export", required_approvals: 1, ttl_seconds: 3600, claim_window_seconds: 3600 };

  let server, browser, certificate, operator, approver;
  before(async () => {
    [server, browser] = await shared();
    certificate = server.certificates.find((c) => c.key_algorithm === "RSA-2048" && c.has_private_key);
    operator = await signIn(browser, server, "operator");
    approver = await signIn(browser, server, "approver");
  });
  beforeEach(() => server.setPolicy({ ...defaultPolicy, approval }));
  after(closePages);

  const open = (page, path) => page.goto(server.url + server.project + path);

  /** Requests a file in the download dialog, and opens the request. */
  async function requestFile(page, filename, reason) {
    await open(page, `/certificates/${certificate.id}`);
    await page.getByRole("button", { name: "Download" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("radio", { name: new RegExp(`^${filename}`) }).check();
    await dialog.getByLabel("Reason").fill(reason);
    await dialog.getByRole("button", { name: "Request approval" }).click();
    await dialog.getByRole("link", { name: "Open request" }).click();
    await page.getByText("Waiting for approval. The request expires").waitFor();
    return page.url().split("/").at(-1);
  }

  /** Opens an approval from the list, in which it appears without a reload. */
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

  test("a private key can be downloaded after somebody else approved the request", async () => {
    await open(approver, "/approvals");
    await approver.getByText("Nothing is waiting for you").waitFor();
    await requestFile(operator, "key.pem", "move to the new host");
    await approver.getByRole("tab", { name: "Waiting (1)" }).waitFor();
    await approver.getByLabel("1 waiting").waitFor();
    await openApproval(approver, "move to the new host");
    await approver.getByText("The file contains the private key").waitFor();
    for (const name of ["Alternative names", "SHA-256 fingerprint", "Request digest", "Expires", "Options"]) await approver.getByRole("rowheader", { name }).waitFor();
    await approver.getByText("this is the first request in this project").waitFor();
    await decide(approver, "Approve", "go ahead");
    await approver.getByText("approver approved it").waitFor();
    assert.equal(await approver.getByRole("button", { name: "Approve", exact: true }).count(), 0);

    await operator.getByText("Approved. Generate the link").waitFor(); // without a reload
    await operator.getByText("go ahead").waitFor();
    await operator.getByRole("button", { name: "Generate download link" }).click();
    await operator.getByText("Your link is ready").waitFor();
    const key = await save(operator);
    assert.match(openssl("pkey", "-in", key, "-noout", "-text"), /Private-Key: \(2048 bit/);
    await operator.getByText("key.pem was downloaded").waitFor();
    await operator.getByText("from 127.0.0.1").waitFor();
    await operator.getByText("Downloaded", { exact: true }).waitFor();
    assertNoComplaints(operator, approver);
  });

  test("two people approve a PKCS#12 file, whose passphrase is set at the claim", async () => {
    await server.setPolicy({ approval: { ...approval, required_approvals: 2 } });
    const second = await signIn(browser, server, "approver2");
    await Promise.all([open(approver, "/approvals"), open(second, "/approvals")]);
    await requestFile(operator, "bundle.pkcs12", "the mail gateway");
    for (const page of [approver, second]) await openApproval(page, "the mail gateway");
    await decide(approver, "Approve", "");
    await second.getByText("approver approved it").waitFor(); // without a reload
    await second.getByText(/^Waiting for 1 of: .*you/).waitFor();
    await operator.getByText("approver approved it").waitFor();
    assert.equal(await operator.getByLabel("Passphrase").count(), 0); // one approval is not enough
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
    assertNoComplaints(operator, approver, second);
  });

  test("a denial needs a comment, which the requester sees", async () => {
    await open(approver, "/approvals");
    await requestFile(operator, "key.pem", "just in case");
    await openApproval(approver, "just in case");
    await approver.getByRole("button", { name: "Deny", exact: true }).click();
    await approver.getByText("Enter a comment to deny the request.").waitFor();
    await decide(approver, "Deny", "not for this host");
    await approver.getByText("approver denied it").waitFor();
    await operator.getByText("The request was denied").waitFor();
    await operator.getByText("not for this host").first().waitFor();
    await open(approver, "/approvals?show=settled");
    await approver.getByRole("row").filter({ hasText: "just in case" }).getByText("Denied").waitFor();
    assertNoComplaints(operator, approver);
  });

  test("open pages show that a request expired", async () => {
    await server.setPolicy({ approval: { ...approval, ttl_seconds: 5 } });
    const request = await server.call("operator", "POST", `${server.project}/certificates/${certificate.id}/downloads`, { format: "key", reason: "no hurry" });
    await Promise.all([open(operator, `/requests/${request.request_id}`), open(approver, `/approvals/${request.approval_id}`)]);
    await operator.getByText("Too few people approved the request in time.").waitFor();
    await approver.getByText("Expired", { exact: true }).waitFor();
    assert.equal(await approver.getByRole("button", { name: "Approve", exact: true }).count(), 0);
    assertNoComplaints(operator, approver);
  });

  test("nobody can approve their own request, and an operator can approve none", async () => {
    const rid = await requestFile(approver, "key.pem", "for myself");
    await approver.getByRole("link", { name: "Open approval" }).click();
    await approver.getByText("This is your own request").waitFor();
    const aid = approver.url().split("/").at(-1);
    assert.equal(await approver.getByRole("button", { name: /^(Approve|Deny)$/ }).count(), 0);
    await open(approver, "/requests?status=pending_approval");
    await approver.getByRole("row", { name: /key.pem/ }).getByText(/1 of: .*Ben Approver/).waitFor();
    await assert.rejects(server.call("approver", "POST", `${server.project}/approvals/${aid}/approve`, {}), /self_approval/);

    await requestFile(operator, "key.pem", "for the operator");
    await operator.getByRole("link", { name: "Open approval" }).click();
    await operator.getByRole("heading", { name: "Decisions" }).waitFor();
    assert.equal(await operator.getByRole("button", { name: /^(Approve|Deny)$/ }).count(), 0);
    await open(operator, `/requests/${rid}`); // the request of somebody else
    await operator.getByRole("alert").waitFor();
    assertNoComplaints(operator, approver);
  });

  test("a pending request is cancelled, and approvers filter everyone's requests", async () => {
    const rid = await requestFile(operator, "key.pem", "changed my mind");
    await operator.getByRole("button", { name: "Cancel request" }).click();
    await operator.getByText("You cancelled the request.").waitFor();
    await open(approver, "/requests?status=cancelled");
    await approver.getByText("No request is in this state").waitFor();
    await approver.getByText("Everyone’s").click();
    await approver.waitForURL(/status=cancelled&who=all/);
    await approver.getByRole("row").filter({ hasText: "operator" }).getByRole("link", { name: "key.pem" }).first().click();
    await approver.waitForURL(new RegExp(rid));
    await approver.getByText("operator cancelled the request.").waitFor();
    assertNoComplaints(operator, approver);
  });

  test("an unused link is revoked from its request", async () => {
    await open(operator, `/certificates/${certificate.id}?download`);
    const dialog = operator.getByRole("dialog");
    await dialog.getByRole("radio", { name: /^cert.pem/ }).check();
    await dialog.getByRole("button", { name: "Generate download link" }).click();
    const link = await dialog.getByLabel("Link", { exact: true }).inputValue();
    await open(operator, "/requests?status=issued");
    await operator.getByRole("link", { name: "cert.pem" }).first().click();
    await operator.getByText("The link works once").waitFor();
    await operator.getByRole("button", { name: "Revoke link" }).click();
    await operator.getByText("The link was revoked. Nobody used it.").waitFor();
    assert.equal((await fetch(link)).status, 410);
    assertNoComplaints(operator);
  });
});
