// The web UI as who uses no mouse does: what they want has the focus once they came to it.
import assert from "node:assert/strict";
import { password, visit } from "./harness.mjs";

/** Goes on by Tab, or back by Shift+Tab, until something has the focus. */
export async function reach(page, role, name, key = "Tab") {
  const wanted = page.getByRole(role, { name, exact: typeof name === "string" });
  await wanted.first().waitFor({ state: "attached" }); // a switch is its drawing, not its input
  const here = wanted.and(page.locator(":focus"));
  for (let presses = 0; presses < 400; presses++) {
    if (await here.count()) return here;
    await page.keyboard.press(key);
  }
  assert.fail(`${key} never reaches the ${role} ${name}`);
}

export async function press(page, role, name, key = "Enter") {
  await reach(page, role, name);
  await page.keyboard.press(key);
}

/** Types into a field in place of what is there. */
export async function type(page, role, name, text, key = "Tab") {
  await reach(page, role, name, key);
  await page.keyboard.press("Control+A");
  await page.keyboard.type(text);
}

/** Goes down a list until the field names an option as the active one, and takes it. */
export async function choose(page, name, option) {
  const field = await reach(page, "combobox", name);
  const wanted = page.getByRole("option", { name: option });
  for (let presses = 0; presses < 40; presses++) {
    await page.keyboard.press("ArrowDown");
    await wanted.waitFor();
    if ((await field.getAttribute("aria-activedescendant")) === (await wanted.getAttribute("id"))) return page.keyboard.press("Enter");
  }
  assert.fail(`the arrow keys never reach ${option}`);
}

/** Takes one of several by the arrow keys. */
export async function pick(page, first, wanted) {
  const radio = page.getByRole("radio", { name: wanted });
  await press(page, "radio", first, "Space");
  for (let presses = 0; presses < 20 && !(await radio.isChecked()); presses++) await page.keyboard.press("ArrowDown");
  assert.equal(await radio.isChecked(), true);
}

/** Goes down the menu of who is signed in. */
export async function menu(page, username, item) {
  await press(page, "button", `Signed in as ${username}`);
  const wanted = page.getByRole("menuitem", { name: item, exact: typeof item === "string" });
  await wanted.waitFor();
  for (let presses = 0; presses < 10 && !(await wanted.evaluate((e) => e === document.activeElement)); presses++) await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
}

/** A person who signs in without a mouse. */
export async function come(browser, server, username) {
  const page = await visit(browser, server);
  await type(page, "textbox", "Username", username);
  await type(page, "textbox", "Password", password);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Certificates" }).waitFor();
  return page;
}

/** Has the browser save the file of a link. */
export async function save(page, name) {
  const [download] = await Promise.all([page.waitForEvent("download"), press(page, "button", name)]);
  return download;
}
