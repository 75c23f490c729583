// Points in time and durations.
import { Badge, Tooltip } from "@mantine/core";
import { now, useSecondsLeft } from "../hooks/clock";

const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const dateOnly = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
/** English, like the sentences around it. */
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** A time in the reader's time zone, with UTC in the tooltip. */
export function Time({ at, day }: { at: string; day?: boolean }) {
  const date = new Date(at);
  return (
    <Tooltip label={date.toISOString().replace("T", " ").replace(/\.\d+Z/, " UTC")} events={{ hover: true, focus: true, touch: true }}>
      <time dateTime={at} tabIndex={0}>
        {(day ? dateOnly : dateAndTime).format(date)}
      </time>
    </Tooltip>
  );
}

/** A time relative to now, such as "in 3 days" or "2 hours ago". */
export function fromNow(at: string): string {
  const seconds = Math.round((Date.parse(at) - now()) / 1000);
  const distance = Math.abs(seconds);
  if (distance < 60) return relative.format(seconds, "second");
  if (distance < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (distance < 86_400) return relative.format(Math.round(seconds / 3600), "hour");
  return relative.format(Math.round(seconds / 86_400), "day");
}

/** How soon a certificate expires. */
export function Expiry({ at }: { at: string }) {
  const days = (Date.parse(at) - now()) / 86_400_000;
  const color = days < 0 ? "red" : days < 30 ? "orange" : "green";
  return (
    <Badge color={color} variant="light" autoContrast tt="none">
      {days < 0 ? `expired ${fromNow(at)}` : fromNow(at)}
    </Badge>
  );
}

/** Formats 245 seconds as "4:05", and one day more as "1 d 0:04:05". */
function clockFormat(seconds: number): string {
  const days = Math.floor(seconds / 86_400);
  if (days) return `${days} d ${clockFormat(seconds % 86_400).padStart(7, "0:00:00")}`;
  const hours = Math.floor(seconds / 3600);
  const rest = `${String(Math.floor((seconds % 3600) / 60)).padStart(hours ? 2 : 1, "0")}:${String(seconds % 60).padStart(2, "0")}`;
  return hours ? `${hours}:${rest}` : rest;
}

/** The time left until a deadline. Screen readers read it on demand, not every second. */
export function Countdown({ until }: { until: string }) {
  return (
    <span role="timer" aria-live="off" style={{ fontVariantNumeric: "tabular-nums" }}>
      {clockFormat(useSecondsLeft(until))}
    </span>
  );
}
