// Whether the user is idle. Requests that an idle page sends by itself, for example
// after a live event, must not keep the session alive.
const idleMillis = 60_000;

let lastInput = Date.now();
for (const input of ["pointerdown", "pointermove", "keydown", "wheel", "touchmove"])
  window.addEventListener(input, () => (lastInput = Date.now()), { capture: true, passive: true });

export function isIdle(): boolean {
  return Date.now() - lastInput > idleMillis;
}
