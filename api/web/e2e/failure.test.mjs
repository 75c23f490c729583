// What goes wrong under way: sessions that end, links used elsewhere, a server
// that does not answer, a plugin that fails.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { comesBack, eventually, password, signIn, startBrowser, startServer } from "./harness.mjs";

let server, browser, certificate, page;
before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
  await server.setPolicy({ allow_key_export: true });
  certificate = server.certificates.find((c) => c.key_algorithm === "RSA-2048" && c.has_private_key);
  page = await signIn(browser, server, "operator");
});
after(async () => {
  server?.signal("SIGCONT");
  await browser?.close();
  await server?.stop();
});

async function openDialog() {
  await page.goto(`${server.url}${server.project}/certificates/${certificate.id}?download`);
  return page.getByRole("dialog", { name: `Download ${certificate.name}` });
}

async function link(dialog) {
  await dialog.getByRole("radio", { name: /^cert.pem/ }).check();
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  await dialog.getByText("Your link is ready").waitFor();
  return dialog.getByLabel("Link", { exact: true }).inputValue();
}

test("a session that ends leaves the form as it was", async () => {
  const dialog = await openDialog();
  await dialog.getByRole("radio", { name: /^bundle.pkcs12/ }).check();
  await dialog.getByRole("textbox", { name: "Passphrase" }).fill("four words and more");
  await dialog.getByLabel("Reason").fill("the quarterly rotation");
  const elsewhere = await signIn(browser, server, "operator");
  await elsewhere.getByRole("button", { name: "Signed in as operator" }).click();
  await elsewhere.getByRole("menuitem", { name: "Sign out everywhere" }).click();
  await elsewhere.getByRole("heading", { name: "Sign in to Countersign" }).waitFor();
  const again = await comesBack(page);
  await again.getByRole("textbox", { name: "Password" }).fill("correct horse battery");
  await again.getByRole("button", { name: "Sign in" }).click();
  await again.waitFor({ state: "detached" });
  assert.equal(await dialog.getByRole("textbox", { name: "Passphrase" }).inputValue(), "four words and more");
  assert.equal(await dialog.getByLabel("Reason").inputValue(), "the quarterly rotation");
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  await dialog.getByText("Your link is ready").waitFor();
  assert.deepEqual(page.complaints, []);
});

test("a link used elsewhere says when and from where", async () => {
  const dialog = await openDialog();
  const used = await link(dialog);
  assert.equal((await fetch(used)).status, 200);
  await dialog.getByText("cert.pem was downloaded").waitFor(); // by itself
  await dialog.getByText("from 127.0.0.1").waitFor();
  assert.equal(await dialog.getByRole("button", { name: /^Download / }).count(), 0);
  assert.match(await (await fetch(used)).text(), /token already used/);
  assert.equal(page.url().includes(used.split("/").at(-1)), false);
  assert.deepEqual(page.complaints, []);
});

test("a click on a link that another used just before shows that it is used", async () => {
  const dialog = await openDialog();
  const used = await link(dialog);
  await page.route("**/events?**", (route) => route.abort()); // the news come too late
  assert.equal((await fetch(used)).status, 200);
  await dialog.getByRole("button", { name: /^Download / }).click();
  await dialog.getByText("token already used").waitFor();
  await page.unroute("**/events?**");
  assert.deepEqual(page.complaints, []);
});

test("a server that does not answer is said to be so, until it does", async () => {
  const dialog = await openDialog();
  await dialog.getByRole("radio", { name: /^cert.pem/ }).check();
  await dialog.getByLabel("Reason").fill("kept");
  server.signal("SIGSTOP");
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  const lost = page.getByRole("alert").filter({ hasText: "It is tried again by itself" });
  await lost.waitFor();
  server.signal("SIGCONT");
  await lost.waitFor({ state: "detached" });
  assert.equal(await dialog.getByLabel("Reason").inputValue(), "kept");
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  await dialog.getByText("Your link is ready").waitFor();
  assert.deepEqual(page.complaints, []);
});

test("a page whose script cannot be loaded says so, and the others go on", async () => {
  await page.goto(`${server.url}${server.project}/certificates`);
  await page.getByRole("heading", { name: "Certificates" }).waitFor();
  await page.route("**/assets/members-*", (route) => route.abort());
  await page.getByRole("link", { name: "Members" }).click();
  const failed = page.getByRole("alert").filter({ hasText: "This page cannot be shown" });
  await failed.waitFor();
  await page.getByRole("link", { name: "Requests" }).click();
  await page.getByRole("heading", { name: "Requests" }).waitFor();
  await page.getByRole("link", { name: "Members" }).click();
  await failed.waitFor();
  await page.unroute("**/assets/members-*");
  await failed.getByRole("button", { name: "Load the page again" }).click();
  await page.getByRole("heading", { name: "Members" }).waitFor();
  page.complaints.length = 0; // of what could not be loaded
});

test("a clock that is wrong changes no deadline", async () => {
  for (const minutes of [10, -10]) {
    const wrong = await browser.newContext();
    await wrong.addInitScript((off) => {
      const now = Date.now;
      Date.now = () => now() + off;
    }, minutes * 60_000);
    const other = await wrong.newPage();
    await other.goto(server.url);
    await other.getByLabel("Username").fill("operator");
    await other.getByRole("textbox", { name: "Password" }).fill(password);
    await other.getByRole("button", { name: "Sign in" }).click();
    await other.getByRole("heading", { name: "Certificates" }).waitFor();
    await other.goto(`${server.url}${server.project}/certificates/${certificate.id}?download`);
    await link(other.getByRole("dialog"));
    assert.match(await other.getByRole("timer").innerText(), /^4:\d\d$|^5:0\d$/);
    await wrong.close();
  }
});

/** The process of a plugin of the server, if there is one now. */
function pluginProcess(name) {
  const read = (pid, file) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, "utf8");
    } catch {
      return ""; // it ended
    }
  };
  const ours = (pid) => read(pid, "stat").split(") ").at(-1).split(" ")[1] === String(server.pid);
  return readdirSync("/proc").find((pid) => /^\d+$/.test(pid) && read(pid, "cmdline") === `countersign-plugin-${name}\0` && ours(pid));
}

test("a format whose plugin keeps failing is shown as not available", async () => {
  const state = async () => (await server.call("admin", "GET", "/plugins")).items.find((p) => p.name === "jks").state;
  await eventually("the plugin is quarantined", async () => {
    const pid = pluginProcess("jks");
    if (pid) process.kill(Number(pid), "SIGKILL");
    return (await state()) === "quarantined";
  });
  const dialog = await openDialog();
  const card = dialog.getByRole("radio", { name: /keystore.jks/ });
  await dialog.getByText("Not available now: its plugin is quarantined.").first().waitFor();
  assert.equal(await card.isDisabled(), true);
  await server.call("admin", "POST", "/plugins/jks/reload");
  await page.reload();
  await eventually("the format can be chosen again", () => card.isEnabled());
  assert.deepEqual(page.complaints, []);
});
