// Keeps the keyboard focus on the page. When the focused element is removed or
// disabled, the focus moves to the result of the action, or to the page's heading.
import { useEffect, useRef } from "react";

const focusIsLost = () => document.activeElement === document.body || document.activeElement?.matches(":disabled");

/**
 * Focuses an element (with tabIndex -1) when a value changes and the focus is lost.
 * With onMount, it also does so when the element appears.
 */
export function useFocusOnChange<T extends HTMLElement>(value: unknown, onMount = false) {
  const ref = useRef<T>(null);
  const before = useRef<unknown>(onMount ? ref : value);
  useEffect(() => {
    const changed = before.current !== value;
    before.current = value;
    if (changed && focusIsLost()) ref.current?.focus({ preventScroll: true });
  }, [value]);
  return ref;
}

/** Focuses the page's heading when the component is removed together with the focused element, such as a button in a table row. */
export function useFocusHeadingOnUnmount() {
  useEffect(
    () => () =>
      queueMicrotask(() => {
        if (focusIsLost()) document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
      }),
    [],
  );
}
