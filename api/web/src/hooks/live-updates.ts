// Live updates: each event of the project's stream makes the pages read again what
// it is about.
import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { api } from "../api/client";

/** The first element of the query keys to read again, for each type of event. */
const queryKeys: Record<string, string[]> = {
  "request.updated": ["requests", "request"],
  "approval.updated": ["approvals", "approval", "pending"],
  "cert.downloaded": ["events", "requests", "request", "audit"],
  "policy.updated": ["policy", "verdict", "audit"],
};

const retryMillis = 3_000;

/** A request may change shortly after the event that announces it, so everything is read once more after this time. */
const settleMillis = 1_500;

export function useLiveUpdates(pid: string) {
  const queries = useQueryClient();
  useEffect(() => followStream(pid, queries), [pid, queries]);
}

/**
 * Follows the stream until the returned function is called, except while the page
 * is hidden: a browser opens only six connections to a server for all its tabs
 * together (RFC 9112, section 9.4), and a visible tab may need them.
 */
function followStream(pid: string, queries: QueryClient) {
  let source: EventSource | undefined;
  let [reopenTimer, settleTimer]: ReturnType<typeof setTimeout>[] = [];
  let [missedEvents, refused] = [false, false];
  const invalidate = (keys: Iterable<string>) => {
    for (const key of keys) void queries.invalidateQueries({ queryKey: [key] });
  };
  const invalidateAll = () => invalidate(new Set(Object.values(queryKeys).flat()));
  const open = () => {
    source = new EventSource(`/api/v1/projects/${encodeURIComponent(pid)}/stream`);
    for (const [type, keys] of Object.entries(queryKeys))
      source.addEventListener(type, () => {
        invalidate(keys);
        clearTimeout(settleTimer);
        settleTimer = setTimeout(invalidateAll, settleMillis);
      });
    source.onopen = () => {
      if (missedEvents) invalidateAll();
      [missedEvents, refused] = [false, false];
    };
    source.onerror = () => {
      missedEvents = true;
      if (source?.readyState !== EventSource.CLOSED) {
        void api.GET("/healthz").catch(() => {}); // the browser reconnects by itself; this shows whether the server answers
        return;
      }
      if (!refused) void queries.invalidateQueries({ queryKey: ["me"] }); // the session may have ended
      refused = true;
      reopenTimer = setTimeout(open, retryMillis);
    };
  };
  const close = () => {
    clearTimeout(reopenTimer);
    clearTimeout(settleTimer);
    source?.close();
  };
  const onVisibilityChange = () => {
    close();
    missedEvents = true;
    if (!document.hidden) open();
  };
  document.addEventListener("visibilitychange", onVisibilityChange);
  if (!document.hidden) open();
  return () => {
    document.removeEventListener("visibilitychange", onVisibilityChange);
    close();
  };
}
