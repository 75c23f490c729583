// The documented steps of a download: open the certificate, click Download, choose
// the format, generate the link, click it. A foreign program opens what was saved.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { assertNoComplaints, eventually, password, signIn, visit } from "./harness.mjs";
import { closePages, defaultPolicy, shared } from "./shared.mjs";

describe("download", () => {
  let server, browser, page;
  before(async () => {
    [server, browser] = await shared();
    await server.setPolicy({ ...defaultPolicy, allow_key_export: true });
    page = await signIn(browser, server, "operator");
  });
  after(closePages);

  const run = (program, ...args) => execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const openssl = (...args) => run("openssl", ...args);
  const certificate = (...more) => (file) => assert.match(openssl("x509", "-noout", "-subject", "-in", file, ...more), /www\.example\.com/);
  const members = ["bundle.pkcs12", "cert.pem", "chain.pem", "fullchain.pem", "key.pem"];

  /** Opens the file of each format with a foreign program. */
  const opens = {
    cert: certificate(),
    chain: (file) => assert.match(openssl("x509", "-noout", "-subject", "-in", file), /Issuing CA/),
    fullchain: certificate(),
    key: (file) => assert.match(openssl("pkey", "-noout", "-text", "-in", file), /Private-Key/),
    pkcs12: (file, passphrase) => assert.match(openssl("pkcs12", "-in", file, "-passin", `pass:${passphrase}`, "-nokeys"), /www\.example\.com/),
    zip: (file) => assert.deepEqual(JSON.parse(run("python3", "-c", "import sys, zipfile, json; print(json.dumps(sorted(zipfile.ZipFile(sys.argv[1]).namelist())))", file)), members),
    jks: (file, passphrase) => assert.match(run("keytool", "-list", "-keystore", file, "-storepass", passphrase), /PrivateKeyEntry/),
    "jks-truststore": (file, passphrase) => assert.match(run("keytool", "-list", "-keystore", file, "-storepass", passphrase), /trustedCertEntry/),
    p7b: (file) => assert.match(openssl("pkcs7", "-print_certs", "-noout", "-in", file), /www\.example\.com/),
    der: certificate("-inform", "der"),
    "der-key": (file) => assert.match(openssl("pkey", "-inform", "der", "-noout", "-text", "-in", file), /Private-Key/),
    haproxy: (file) => (certificate()(file), assert.match(openssl("pkey", "-noout", "-text", "-in", file), /Private-Key/)),
    "k8s-secret": (file) => assert.match(run("cat", file), /kind: Secret[\s\S]*kubernetes.io\/tls|kubernetes.io\/tls[\s\S]*kind: Secret/),
    "pkcs8-encrypted": (file, passphrase) => assert.match(openssl("pkey", "-noout", "-text", "-in", file, "-passin", `pass:${passphrase}`), /Private-Key/),
  };

  /** One format of each kind: text and binary, with and without the key and a passphrase. COUNTERSIGN_SOAK=1 downloads all. */
  const representatives = process.env.COUNTERSIGN_SOAK ? Object.keys(opens) : ["fullchain", "key", "pkcs12", "zip", "der"];

  /** Opens the download dialog of the sample certificate. */
  async function openDialog() {
    await page.goto(server.url + server.project + "/certificates");
    await page.getByRole("link", { name: "www.example.com", exact: true }).click();
    await page.getByRole("button", { name: "Download" }).click();
    return page.getByRole("dialog");
  }

  async function save(dialog) {
    const [download] = await Promise.all([page.waitForEvent("download"), dialog.getByRole("button", { name: /^Download/ }).click()]);
    return { name: download.suggestedFilename(), path: await download.path() };
  }

  /** Generates the link of a format and returns it. */
  async function generateLink(dialog, format) {
    await dialog.locator(`[value="${format}"]`).check();
    await dialog.getByRole("button", { name: "Generate download link" }).click();
    await dialog.getByText("Your link is ready").waitFor();
    return dialog.getByRole("textbox", { name: "Link" }).inputValue();
  }

  test("each format", async (t) => {
    const formats = (await server.call("operator", "GET", server.project + "/formats?limit=200")).items;
    assert.deepEqual(formats.map((f) => f.id).sort(), Object.keys(opens).sort(), "a foreign program opens each format");
    const secrets = [];
    for (const format of formats.filter((f) => representatives.includes(f.id)))
      await t.test(format.filename, async () => {
        const dialog = await openDialog();
        await dialog.locator(`[value="${format.id}"]`).check();
        let passphrase = "";
        if (format.needs_passphrase) {
          await dialog.getByRole("button", { name: "Generate", exact: true }).click();
          passphrase = await dialog.getByRole("textbox", { name: "Passphrase" }).inputValue();
          assert.match(passphrase, /^[a-zA-Z0-9]{24}$/);
        }
        const token = (await generateLink(dialog, format.id)).split("/").at(-1);
        secrets.push(...[token, passphrase].filter(Boolean));
        for (const secret of secrets) assert.ok(!page.url().includes(secret), page.url());
        const file = await save(dialog);
        assert.equal(file.name, format.filename);
        opens[format.id](file.path, passphrase);
        await dialog.getByText(`${format.filename} was downloaded`).waitFor();
        await dialog.getByText("from 127.0.0.1").waitFor();
        const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, performance.getEntries().map((e) => e.name)]));
        for (const secret of secrets) assert.ok(!stored.includes(secret), "a secret is in the browser's storage or among the addresses");
        await page.keyboard.press("Escape");
        await dialog.waitFor({ state: "detached" });
      });
    assert.ok(secrets.length > representatives.length);
    assertNoComplaints(page);
  });

  test("an import target sets the format and its options, and shows the import command", async () => {
    const dialog = await openDialog();
    await dialog.getByLabel("Where will you import it?").first().click();
    await page.getByRole("option", { name: /Windows Server 2016/ }).click();
    assert.ok(await dialog.locator('[value="pkcs12"]').isChecked());
    await dialog.getByRole("button", { name: "Advanced options" }).click();
    assert.ok(await dialog.getByRole("checkbox", { name: "Legacy encryption" }).isChecked());
    await dialog.getByRole("button", { name: "Generate", exact: true }).click();
    const passphrase = await dialog.getByRole("textbox", { name: "Passphrase" }).inputValue();
    await dialog.getByRole("button", { name: "Generate download link" }).click();
    const file = await save(dialog);
    assert.match(openssl("pkcs12", "-info", "-legacy", "-in", file.path, "-passin", `pass:${passphrase}`, "-nokeys"), /www\.example\.com/);
    await dialog.getByText("How to import it").click();
    await dialog.getByText("Import-PfxCertificate").first().waitFor();
    assertNoComplaints(page);
  });

  test("the dialog shows the policy's verdict before the request", async () => {
    const dialog = await openDialog();
    await dialog.locator('[value="key"]').check();
    await dialog.getByText("Allowed by policy.").waitFor();
    await server.setPolicy({ allow_key_export: false });
    await dialog.getByText("Denied by policy").waitFor();
    await dialog.getByText("What you can do").waitFor();
    assert.ok(await dialog.getByRole("button", { name: "Generate download link" }).isDisabled());
    await server.setPolicy({ allow_key_export: true });
    assertNoComplaints(page);
  });

  test("a click beside the dialog loses nothing, and closing the dialog forgets the link", async () => {
    const dialog = await openDialog();
    await dialog.getByLabel("Reason").fill("kept");
    await page.mouse.click(5, 5); // beside the dialog
    assert.equal(await dialog.getByLabel("Reason").inputValue(), "kept");
    await generateLink(dialog, "cert");
    await page.goBack();
    await dialog.waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Download" }).click();
    await dialog.getByText("Choose a format.").waitFor();
    assert.equal(await dialog.getByText("Your link is ready").count(), 0);
    assertNoComplaints(page);
  });

  test("a revoked link works nowhere", async () => {
    const dialog = await openDialog();
    const link = await generateLink(dialog, "cert");
    await dialog.getByRole("button", { name: "Revoke link" }).click();
    await dialog.getByText("The link was revoked").waitFor();
    assert.equal((await fetch(link)).status, 410);
    await dialog.getByRole("button", { name: "New link" }).click();
    await dialog.getByRole("button", { name: "Generate download link" }).waitFor();
    assertNoComplaints(page);
  });

  test("a link that somebody else used shows when and from where", async () => {
    const dialog = await openDialog();
    const link = await generateLink(dialog, "cert");
    assert.equal((await fetch(link)).status, 200);
    await dialog.getByText("cert.pem was downloaded").waitFor(); // without a reload
    await dialog.getByText("from 127.0.0.1").waitFor();
    await eventually("the dialog offers no second download", async () => (await dialog.getByRole("button", { name: /^Download/ }).count()) === 0);
    const second = await fetch(link);
    assert.equal(second.status, 410);
    assert.match(await second.text(), /token already used/);
    assert.equal(page.url().includes(link.split("/").at(-1)), false);
    assertNoComplaints(page);
  });

  test("a click on a link that somebody else just used shows that it was used", async () => {
    const dialog = await openDialog();
    const link = await generateLink(dialog, "cert");
    await page.route("**/events?**", (route) => route.abort()); // the page does not know it yet
    assert.equal((await fetch(link)).status, 200);
    await dialog.getByRole("button", { name: /^Download / }).click();
    await dialog.getByText("token already used").waitFor();
    await page.unroute("**/events?**");
    assertNoComplaints(page);
  });

  test("a viewer sees certificates and no download", async () => {
    const viewer = await signIn(browser, server, "viewer");
    await viewer.getByRole("searchbox").fill("www");
    await viewer.getByRole("link", { name: "www.example.com", exact: true }).click();
    await viewer.getByRole("heading", { name: "Timeline" }).waitFor();
    assert.equal(await viewer.getByRole("button", { name: "Download" }).count(), 0);
    assertNoComplaints(viewer);
  });

  test("a certificate shows the warnings of its import, and many names on demand", async () => {
    const names = Array.from({ length: 60 }, (_, i) => `DNS:host-${i}.example.com`).join(",");
    const certificate_pem = openssl("req", "-x509", "-newkey", "rsa:2048", "-md5", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=a\u202eb", "-utf8", "-addext", `subjectAltName=${names}`);
    const { id } = await server.call("admin", "POST", `${server.project}/certificates`, { name: "warned", certificate_pem });
    const viewer = await signIn(browser, server, "viewer");
    await viewer.goto(`${server.url}${server.project}/certificates/${id}`);
    await viewer.getByRole("alert").getByText(/was not checked, because its algorithm \(RSA with MD5\)/).waitFor();
    await viewer.getByRole("cell", { name: "CN=a\\E2\\80\\AEb" }).first().waitFor();
    assert.equal(await viewer.getByText("host-59.example.com").count(), 0);
    await viewer.getByRole("button", { name: "Show all 60 names" }).click();
    await viewer.getByText("host-59.example.com").waitFor();
    await viewer.goto(`${server.url}${server.project}/certificates?q=host-59`);
    await viewer.getByText("… (60 names)").waitFor();
    assertNoComplaints(viewer);
  });

  test("signing in needs at most 250 KB of compressed script", async () => {
    await server.setPassword("viewer");
    const sizes = {};
    const first = await visit(browser, server, { at: "/healthz" }); // not the UI
    first.on("response", async (response) => {
      if (/\.js$/.test(new URL(response.url()).pathname)) sizes[response.url()] = response.request().sizes();
    });
    await first.goto(server.url);
    await first.getByLabel("Username").fill("viewer");
    await first.getByRole("textbox", { name: "Password" }).fill(password);
    await first.keyboard.press("Enter");
    await first.getByRole("link", { name: "www.example.com", exact: true }).waitFor();
    const bytes = (await Promise.all(Object.values(sizes))).reduce((sum, size) => sum + size.responseBodySize, 0);
    assert.ok(bytes > 50_000 && bytes <= 250 * 1024, `${Math.round(bytes / 1024)} KB of script`);
    console.log(`first load: ${Math.round(bytes / 1024)} KB of compressed script`);
  });
});
