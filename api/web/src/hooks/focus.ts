// Where the focus goes when what had it is gone, or was disabled while it did what
// it says: to what says what came of it, or else to the page's heading.
import { useEffect, useRef } from "react";

const nobodyHasIt = () => document.activeElement === document.body || document.activeElement?.matches(":disabled");

/** For an element that can take the focus (tabIndex -1), each time that something changes; if it appears as an outcome, at first too. */
export function useRefuge<T extends HTMLElement>(change: unknown, appears = false) {
  const ref = useRef<T>(null);
  const before = useRef<unknown>(appears ? ref : change);
  useEffect(() => {
    const changed = before.current !== change;
    before.current = change;
    if (changed && nobodyHasIt()) ref.current?.focus({ preventScroll: true });
  }, [change]);
  return ref;
}

/** For what may be taken from the page with the focus in it, such as a row's button. */
export function useHeadingNext() {
  useEffect(
    () => () =>
      queueMicrotask(() => {
        if (nobodyHasIt()) document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
      }),
    [],
  );
}
