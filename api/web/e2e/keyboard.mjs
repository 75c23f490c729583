// Uses the web UI with the keyboard alone.
import assert from "node:assert/strict";

/** Tells whether the focus is in the dialog, if one is open: the dialog takes it a moment after it is shown, from wherever it is then. */
const dialogHasFocus = () => {
  const dialogs = [...document.querySelectorAll('[role="dialog"][aria-modal="true"]')].filter((dialog) => dialog.checkVisibility());
  return dialogs.length === 0 || dialogs.at(-1).contains(document.activeElement);
};

/** Presses Tab, or another key, until an element has the focus. */
export async function reach(page, role, name, key = "Tab") {
  const wanted = page.getByRole(role, { name, exact: typeof name === "string" });
  await wanted.first().waitFor({ state: "attached" }); // the input of a switch is hidden behind its drawing
  await page.waitForFunction(dialogHasFocus);
  const focused = wanted.and(page.locator(":focus"));
  for (let presses = 0; presses < 400; presses++) {
    if (await focused.count()) return focused;
    await page.keyboard.press(key);
  }
  assert.fail(`${key} never reaches the ${role} ${name}`);
}

export async function press(page, role, name, key = "Enter") {
  await reach(page, role, name);
  await page.keyboard.press(key);
}

/** Types into a field, in place of its text. */
export async function type(page, role, name, text, key = "Tab") {
  await reach(page, role, name, key);
  await page.keyboard.press("Control+A");
  await page.keyboard.type(text);
}

/** Presses the down arrow until an option of a list is the active one, and chooses it. */
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

/** Chooses one of several radio buttons with the arrow keys. The focus moves at once; a page that navigates shows the choice a moment later. */
export async function pick(page, first, wanted) {
  const radio = page.getByRole("radio", { name: wanted });
  await press(page, "radio", first, "Space");
  for (let presses = 0; presses < 20 && !(await radio.and(page.locator(":focus")).count()); presses++) await page.keyboard.press("ArrowDown");
  await radio.and(page.locator(":checked")).waitFor({ state: "attached" });
}

/** Chooses an item of the account menu. */
export async function menu(page, username, item) {
  await press(page, "button", `Signed in as ${username}`);
  const wanted = page.getByRole("menuitem", { name: item, exact: typeof item === "string" });
  await wanted.waitFor();
  for (let presses = 0; presses < 10 && !(await wanted.evaluate((e) => e === document.activeElement)); presses++) await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
}

/** Fills in the sign-in form. */
export async function signInByKeyboard(page, username, password) {
  await type(page, "textbox", "Username", username);
  await type(page, "textbox", "Password", password);
  await page.keyboard.press("Enter");
}

/** Saves the file of a link. */
export async function save(page, name) {
  const [download] = await Promise.all([page.waitForEvent("download"), press(page, "button", name)]);
  return download;
}
