// The server's time. Deadlines are compared with it, because the clock of the
// user's computer may be wrong.
import { useEffect, useState } from "react";

let offsetMillis = 0;

/** Smaller differences come from the network and from the whole seconds of the Date header. */
const toleranceMillis = 3_000;

/** Sets the clock by the Date header of a response (RFC 9110, section 6.6.1). */
export function setClock(date: string | null) {
  const difference = Date.parse(date ?? "") + 500 - Date.now();
  if (!Number.isNaN(difference)) offsetMillis = Math.abs(difference) > toleranceMillis ? difference : 0;
}

/** The server's time in milliseconds since 1970. */
export const now = () => Date.now() + offsetMillis;

/** The seconds until a time, counted down to 0 while the page is open. */
export function useSecondsLeft(until: string): number {
  const secondsLeft = () => Math.max(0, Math.ceil((Date.parse(until) - now()) / 1000));
  const [seconds, setSeconds] = useState(secondsLeft);
  useEffect(() => {
    setSeconds(secondsLeft());
    const timer = setInterval(() => setSeconds(secondsLeft()), 500);
    return () => clearInterval(timer);
  }, [until]);
  return seconds;
}
