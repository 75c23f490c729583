// Takes the pictures of README.md from the running product.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { signIn, startBrowser, startServer } from "./harness.mjs";

const folder = join(import.meta.dirname, "../pictures");
mkdirSync(folder, { recursive: true });
const [server, browser] = await Promise.all([startServer(), startBrowser()]);
const view = { viewport: { width: 1120, height: 720 }, deviceScaleFactor: 2, colorScheme: "light" };
const picture = (page, name) => page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled" });
try {
  await server.setPolicy({ allow_key_export: true });
  const operator = await signIn(browser, server, "operator", view);
  await operator.getByRole("link", { name: "www.example.com", exact: true }).click();
  await operator.getByRole("button", { name: "Download" }).click();
  const dialog = operator.getByRole("dialog");
  await dialog.getByLabel("Where will you import it?").first().click();
  await operator.getByRole("option", { name: /Windows Server 2016/ }).click();
  await dialog.getByRole("button", { name: "Generate", exact: true }).click();
  await dialog.getByText("Allowed by policy.").waitFor();
  await picture(operator, "download");

  await server.setPolicy({ approval: { mode: "key_export", required_approvals: 2, ttl_seconds: 86400, claim_window_seconds: 86400 } });
  const reasons = { key: "New load balancer in Frankfurt, change 4711", haproxy: "Emergency: the balancer's disk is gone", zip: "Snapshot for the yearly audit" };
  const certificate = server.certificates.find((c) => c.name === "www.example.com");
  for (const [format, reason] of Object.entries(reasons)) await server.call("operator", "POST", `${server.project}/certificates/${certificate.id}/downloads`, { format, reason });
  const approver = await signIn(browser, server, "approver", view);
  await approver.getByRole("link", { name: "Approvals" }).click();
  await approver.getByText(reasons.key).first().waitFor();
  await picture(approver, "approvals");

  const admin = await signIn(browser, server, "admin", view);
  await admin.getByRole("link", { name: "Audit log" }).click();
  await admin.setViewportSize({ width: 1120, height: 1000 });
  await admin.getByRole("cell").nth(20).waitFor();
  await picture(admin, "audit");
} finally {
  await browser.close();
  await server.stop();
}
