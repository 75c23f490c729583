import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { signIn, startBrowser, startServer } from "./harness.mjs";

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
  await server.setPolicy({ allow_key_export: true });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test("sign in and download", async () => {
  const page = await signIn(browser, server, "operator");
  const name = server.certificates.find((c) => c.has_private_key).name;
  await page.getByRole("link", { name, exact: true }).click();
  await page.getByRole("button", { name: "Download" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("radio", { name: /^fullchain.pem/ }).check();
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  await dialog.getByText("Your link is ready").waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), dialog.getByRole("button", { name: /^Download/ }).click()]);
  const path = await download.path();
  assert.match(execFileSync("openssl", ["x509", "-noout", "-subject", "-in", path], { encoding: "utf8" }), /subject/);
  await dialog.getByText("fullchain.pem was downloaded").waitFor();
  await dialog.getByText("from 127.0.0.1").waitFor();
  assert.deepEqual(page.complaints, []);
});
