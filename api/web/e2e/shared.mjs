// One server and one browser for all suites of a test process. The suites run one
// after the other; each sets the policy that it needs and closes its pages.
import { after } from "node:test";
import { startBrowser, startServer } from "./harness.mjs";

let started;

export function shared() {
  started ??= Promise.all([startServer(), startBrowser()]);
  return started;
}

/** The policy of a new project, which each suite starts from. */
export const defaultPolicy = {
  allow_key_export: false,
  allow_legacy_encryption: true,
  approval: { mode: "off", required_approvals: 1, ttl_seconds: 86_400, claim_window_seconds: 86_400 },
  token_ttl_seconds: 300,
  min_passphrase_length: 8,
};

export async function closePages() {
  const [, browser] = await shared();
  await Promise.all(browser.contexts().map((context) => context.close()));
}

after(async () => {
  if (!started) return;
  const [server, browser] = await started;
  await browser.close();
  await server.stop();
});
