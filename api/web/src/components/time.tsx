// Times, in the reader's zone with UTC on hover, and how long is left.
import { Tooltip } from "@mantine/core";
import { useEffect, useState } from "react";
import { now } from "../hooks/clock";

const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
/** The words around it are English. */
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function Time({ at, day }: { at: string; day?: boolean }) {
  const date = new Date(at);
  const shown = day ? date.toLocaleDateString(undefined, { dateStyle: "medium" }) : zoned.format(date);
  return (
    <Tooltip label={date.toISOString().replace("T", " ").replace(/\.\d+Z/, " UTC")} events={{ hover: true, focus: true, touch: true }}>
      <time dateTime={at} tabIndex={0}>
        {shown}
      </time>
    </Tooltip>
  );
}

/** In how many days or how long ago, in the reader's words. */
export function fromNow(at: string): string {
  const seconds = Math.round((Date.parse(at) - now()) / 1000);
  const far = Math.abs(seconds);
  if (far < 60) return relative.format(seconds, "second");
  if (far < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (far < 86_400) return relative.format(Math.round(seconds / 3600), "hour");
  return relative.format(Math.round(seconds / 86_400), "day");
}

/** Seconds until a time, counted down to 0 while the page is open. */
export function useSecondsLeft(until: string): number {
  const left = () => Math.max(0, Math.ceil((Date.parse(until) - now()) / 1000));
  const [seconds, setSeconds] = useState(left);
  useEffect(() => {
    setSeconds(left());
    const tick = setInterval(() => setSeconds(left()), 500);
    return () => clearInterval(tick);
  }, [until]);
  return seconds;
}

/** 245 seconds as "4:05", a day more as "1 d 0:04:05". */
export function clock(seconds: number): string {
  const days = Math.floor(seconds / 86_400);
  if (days) return `${days} d ${clock(seconds % 86_400).padStart(7, "0:00:00")}`;
  const hours = Math.floor(seconds / 3600);
  const rest = `${String(Math.floor((seconds % 3600) / 60)).padStart(hours ? 2 : 1, "0")}:${String(seconds % 60).padStart(2, "0")}`;
  return hours ? `${hours}:${rest}` : rest;
}

/** How long is left, alive. Screen readers get it when they ask, not each second. */
export function Countdown({ until, over }: { until: string; over: string }) {
  const seconds = useSecondsLeft(until);
  return (
    <span role="timer" aria-live="off" style={{ fontVariantNumeric: "tabular-nums" }}>
      {seconds > 0 ? clock(seconds) : over}
    </span>
  );
}
