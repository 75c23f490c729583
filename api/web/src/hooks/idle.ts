// Whether somebody is at the page. What it reads by itself when nobody is, such as
// after a live event, keeps no session from ending.
const attendedMillis = 60_000;

let touched = Date.now();
for (const input of ["pointerdown", "pointermove", "keydown", "wheel", "touchmove"])
  window.addEventListener(input, () => (touched = Date.now()), { capture: true, passive: true });

export function unattended(): boolean {
  return Date.now() - touched > attendedMillis;
}
