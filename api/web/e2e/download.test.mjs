// The five documented steps, for each format: open the certificate, click Download,
// pick the format, generate the link, click it; what the browser saved opens elsewhere.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { eventually, signIn, startBrowser, startServer } from "./harness.mjs";

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
  await server.setPolicy({ allow_key_export: true });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const run = (program, ...args) => execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const openssl = (...args) => run("openssl", ...args);
const certificate = (...more) => (file) => assert.match(openssl("x509", "-noout", "-subject", "-in", file, ...more), /www\.example\.com/);
const members = ["bundle.pkcs12", "cert.pem", "chain.pem", "fullchain.pem", "key.pem"];

/** Opens a format's file with a foreign tool. */
const opens = {
  cert: certificate(),
  chain: (file) => assert.match(openssl("x509", "-noout", "-subject", "-in", file), /Issuing CA/),
  fullchain: certificate(),
  key: (file) => assert.match(openssl("pkey", "-noout", "-text", "-in", file), /Private-Key/),
  pkcs12: (file, word) => assert.match(openssl("pkcs12", "-in", file, "-passin", `pass:${word}`, "-nokeys"), /www\.example\.com/),
  zip: (file) => assert.deepEqual(JSON.parse(run("python3", "-c", "import sys, zipfile, json; print(json.dumps(sorted(zipfile.ZipFile(sys.argv[1]).namelist())))", file)), members),
  jks: (file, word) => assert.match(run("keytool", "-list", "-keystore", file, "-storepass", word), /PrivateKeyEntry/),
  "jks-truststore": (file, word) => assert.match(run("keytool", "-list", "-keystore", file, "-storepass", word), /trustedCertEntry/),
  p7b: (file) => assert.match(openssl("pkcs7", "-print_certs", "-noout", "-in", file), /www\.example\.com/),
  der: certificate("-inform", "der"),
  "der-key": (file) => assert.match(openssl("pkey", "-inform", "der", "-noout", "-text", "-in", file), /Private-Key/),
  haproxy: (file) => (certificate()(file), assert.match(openssl("pkey", "-noout", "-text", "-in", file), /Private-Key/)),
  "k8s-secret": (file) => assert.match(run("cat", file), /kind: Secret[\s\S]*kubernetes.io\/tls|kubernetes.io\/tls[\s\S]*kind: Secret/),
  "pkcs8-encrypted": (file, word) => assert.match(openssl("pkey", "-noout", "-text", "-in", file, "-passin", `pass:${word}`), /Private-Key/),
};

/** Opens the download dialog of the sample certificate. */
async function dialogOf(page) {
  await page.getByRole("link", { name: "Certificates" }).first().click();
  await page.getByRole("link", { name: "www.example.com", exact: true }).click();
  await page.getByRole("button", { name: "Download" }).click();
  return page.getByRole("dialog");
}

async function save(page, dialog) {
  const [download] = await Promise.all([page.waitForEvent("download"), dialog.getByRole("button", { name: /^Download/ }).click()]);
  return { name: download.suggestedFilename(), path: await download.path() };
}

test("each format", async (t) => {
  const page = await signIn(browser, server, "operator");
  const formats = (await server.call("operator", "GET", server.project + "/formats?limit=200")).items;
  assert.deepEqual(formats.map((f) => f.id).sort(), Object.keys(opens).sort(), "each format is opened by something");
  const secrets = [];
  for (const format of formats)
    await t.test(format.filename, async () => {
      const dialog = await dialogOf(page);
      await dialog.getByRole("radio", { name: format.filename, exact: false }).and(dialog.locator(`[value="${format.id}"]`)).check();
      let word = "";
      if (format.needs_passphrase) {
        await dialog.getByRole("button", { name: "Generate", exact: true }).click();
        word = await dialog.getByLabel("Passphrase", { exact: true }).or(dialog.getByRole("textbox", { name: "Passphrase" })).first().inputValue();
        assert.match(word, /^[a-zA-Z0-9]{24}$/);
      }
      await dialog.getByRole("button", { name: "Generate download link" }).click();
      await dialog.getByText("Your link is ready").waitFor();
      const token = (await dialog.getByRole("textbox", { name: "Link" }).inputValue()).split("/").at(-1);
      secrets.push(...[token, word].filter(Boolean));
      for (const secret of secrets) assert.ok(!page.url().includes(secret), page.url());
      const file = await save(page, dialog);
      assert.equal(file.name, format.filename);
      opens[format.id](file.path, word);
      await dialog.getByText(`${format.filename} was downloaded`).waitFor();
      await dialog.getByText("from 127.0.0.1").waitFor();
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
    });
  const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, performance.getEntries().map((e) => e.name)]));
  assert.ok(secrets.length > formats.length);
  for (const secret of secrets) assert.ok(!stored.includes(secret), "a secret is in the storage or among the addresses");
  assert.deepEqual(page.complaints, []);
});

test("a destination sets format and options, and gives the command to import it", async () => {
  const page = await signIn(browser, server, "operator");
  const dialog = await dialogOf(page);
  await dialog.getByRole("combobox", { name: "Where will you import it?" }).or(dialog.getByLabel("Where will you import it?")).first().click();
  await page.getByRole("option", { name: /Windows Server 2016/ }).click();
  assert.ok(await dialog.locator('[value="pkcs12"]').isChecked());
  await dialog.getByRole("button", { name: "Advanced options" }).click();
  assert.ok(await dialog.getByRole("checkbox", { name: "Legacy encryption" }).isChecked());
  await dialog.getByRole("button", { name: "Generate", exact: true }).click();
  const word = await dialog.getByRole("textbox", { name: "Passphrase" }).inputValue();
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  const file = await save(page, dialog);
  const said = openssl("pkcs12", "-info", "-legacy", "-in", file.path, "-passin", `pass:${word}`, "-nokeys");
  assert.match(said, /www\.example\.com/);
  await dialog.getByText("How to import it").click();
  await dialog.getByText("Import-PfxCertificate").first().waitFor();
  assert.deepEqual(page.complaints, []);
});

test("the policy's answer is there before anybody asks", async () => {
  const page = await signIn(browser, server, "operator");
  const dialog = await dialogOf(page);
  await dialog.locator('[value="key"]').check();
  await dialog.getByText("The policy allows this download").waitFor();
  await server.setPolicy({ allow_key_export: false });
  await dialog.getByText("The policy refuses this download").waitFor();
  await dialog.getByText("What would change that").waitFor();
  assert.ok(await dialog.getByRole("button", { name: "Generate download link" }).isDisabled());
  await server.setPolicy({ allow_key_export: true });
  assert.deepEqual(page.complaints, []);
});

test("a slip of the hand loses nothing, and closing forgets the link", async () => {
  const page = await signIn(browser, server, "operator");
  const dialog = await dialogOf(page);
  await dialog.getByLabel("Reason").fill("kept");
  await page.mouse.click(5, 5); // beside the dialog
  assert.equal(await dialog.getByLabel("Reason").inputValue(), "kept");
  await dialog.locator('[value="cert"]').check();
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  await dialog.getByText("Your link is ready").waitFor();
  await page.goBack();
  await dialog.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Download" }).click();
  await dialog.getByText("Choose a format.").waitFor();
  assert.equal(await dialog.getByText("Your link is ready").count(), 0);
  assert.deepEqual(page.complaints, []);
});

test("a link that is revoked works no more, here or elsewhere", async () => {
  const page = await signIn(browser, server, "operator");
  const dialog = await dialogOf(page);
  await dialog.locator('[value="cert"]').check();
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  const link = await dialog.getByRole("textbox", { name: "Link" }).inputValue();
  await dialog.getByRole("button", { name: "Revoke" }).click();
  await dialog.getByText("The link is revoked").waitFor();
  assert.equal((await fetch(link)).status, 410);
  await dialog.getByRole("button", { name: "New download" }).click();
  await dialog.getByRole("button", { name: "Generate download link" }).waitFor();
  assert.deepEqual(page.complaints, []);
});

test("a link that somebody else used says when and from where", async () => {
  const page = await signIn(browser, server, "operator");
  const dialog = await dialogOf(page);
  await dialog.locator('[value="cert"]').check();
  await dialog.getByRole("button", { name: "Generate download link" }).click();
  const link = await dialog.getByRole("textbox", { name: "Link" }).inputValue();
  assert.equal((await fetch(link)).status, 200);
  await dialog.getByText("cert.pem was downloaded").waitFor();
  await eventually("the dialog offers no second download", async () => (await dialog.getByRole("button", { name: /^Download/ }).count()) === 0);
  assert.equal((await fetch(link)).status, 410);
  assert.deepEqual(page.complaints, []);
});

test("a viewer sees certificates and no download", async () => {
  const page = await signIn(browser, server, "viewer");
  await page.getByRole("searchbox").fill("www");
  await page.getByRole("link", { name: "www.example.com", exact: true }).click();
  await page.getByRole("heading", { name: "Timeline" }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Download" }).count(), 0);
  assert.deepEqual(page.complaints, []);
});

test("the first load needs at most 250 KB of compressed script", async () => {
  const page = await browser.newPage();
  const sizes = {};
  page.on("response", async (response) => {
    if (/\.js$/.test(new URL(response.url()).pathname)) sizes[response.url()] = response.request().sizes();
  });
  await page.goto(server.url);
  await page.getByLabel("Username").fill("viewer");
  await page.getByRole("textbox", { name: "Password" }).fill("correct horse battery");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "www.example.com", exact: true }).waitFor();
  const bytes = (await Promise.all(Object.values(sizes))).reduce((sum, size) => sum + size.responseBodySize, 0);
  assert.ok(bytes > 50_000 && bytes <= 250 * 1024, `${Math.round(bytes / 1024)} KB of script`);
  console.log(`first load: ${Math.round(bytes / 1024)} KB of compressed script`);
});
