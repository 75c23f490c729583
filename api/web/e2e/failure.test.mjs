// What goes wrong on the way: a server that does not answer, a script that cannot be
// loaded, a wrong clock, a plugin that fails.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { assertNoComplaints, eventually, signIn } from "./harness.mjs";
import { closePages, defaultPolicy, shared } from "./shared.mjs";

describe("failure", () => {
  let server, browser, certificate, page;
  before(async () => {
    [server, browser] = await shared();
    await server.setPolicy({ ...defaultPolicy, allow_key_export: true });
    certificate = server.certificates.find((c) => c.key_algorithm === "RSA-2048" && c.has_private_key);
    // The page waits 15 s for an answer; a tenth of it is enough here.
    const impatient = () => {
      const timeout = AbortSignal.timeout.bind(AbortSignal);
      AbortSignal.timeout = (millis) => timeout(millis === 15_000 ? 1_500 : millis);
    };
    page = await signIn(browser, server, "operator", { initScript: [impatient] });
  });
  after(async () => {
    server.signal("SIGCONT");
    await closePages();
  });

  async function openDialog(on = page) {
    await on.goto(`${server.url}${server.project}/certificates/${certificate.id}?download`);
    return on.getByRole("dialog", { name: `Download ${certificate.name}` });
  }

  test("a page says that the server does not answer, until it does", async () => {
    const dialog = await openDialog();
    await dialog.getByRole("radio", { name: /^cert.pem/ }).check();
    await dialog.getByLabel("Reason").fill("kept");
    server.signal("SIGSTOP");
    await dialog.getByRole("button", { name: "Generate download link" }).click();
    const lost = page.getByRole("alert").filter({ hasText: "This page tries again automatically" });
    await lost.waitFor();
    server.signal("SIGCONT");
    await lost.waitFor({ state: "detached" });
    assert.equal(await dialog.getByLabel("Reason").inputValue(), "kept");
    await eventually("a link is generated", async () => {
      // The server may have been too slow for the impatient page.
      await dialog.getByRole("button", { name: "Generate download link" }).click({ timeout: 1_000 }).catch(() => {});
      return (await dialog.getByText("Your link is ready").count()) === 1;
    });
    assertNoComplaints(page);
  });

  test("a page whose script cannot be loaded says so, and the other pages work", async () => {
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
    page.complaints.length = 0; // about the script that could not be loaded
  });

  test("a wrong clock changes no deadline", async () => {
    for (const minutes of [10, -10]) {
      const shiftClock = (millis) => {
        const now = Date.now;
        Date.now = () => now() + millis;
      };
      const wrong = await signIn(browser, server, "operator", { initScript: [shiftClock, minutes * 60_000] });
      const dialog = await openDialog(wrong);
      await dialog.getByRole("radio", { name: /^cert.pem/ }).check();
      await dialog.getByRole("button", { name: "Generate download link" }).click();
      await dialog.getByText("Your link is ready").waitFor();
      assert.match(await wrong.getByRole("timer").innerText(), /^4:\d\d$|^5:0\d$/);
      await wrong.context().close();
    }
  });

  /** The process id of one of the server's plugins; undefined while it does not run. */
  function pluginProcess(name) {
    const read = (pid, file) => {
      try {
        return readFileSync(`/proc/${pid}/${file}`, "utf8");
      } catch {
        return ""; // the process ended
      }
    };
    const isChild = (pid) => read(pid, "stat").split(") ").at(-1).split(" ")[1] === String(server.pid);
    return readdirSync("/proc").find((pid) => /^\d+$/.test(pid) && read(pid, "cmdline") === `countersign-plugin-${name}\0` && isChild(pid));
  }

  test("a format whose plugin keeps failing is shown as unavailable", async () => {
    const state = async () => (await server.call("system", "GET", "/plugins")).items.find((p) => p.name === "jks").state;
    await eventually("the plugin is quarantined", async () => {
      const pid = pluginProcess("jks");
      if (pid) process.kill(Number(pid), "SIGKILL");
      return (await state()) === "quarantined";
    });
    const dialog = await openDialog();
    const format = dialog.getByRole("radio", { name: /keystore.jks/ });
    await dialog.getByText("Not available now: its plugin is quarantined.").first().waitFor();
    assert.equal(await format.isDisabled(), true);
    await server.call("system", "POST", "/plugins/jks/reload");
    await page.reload();
    await eventually("the format can be chosen again", () => format.isEnabled());
    assertNoComplaints(page);
  });
});
