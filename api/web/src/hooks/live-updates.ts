// What happens in the project, as it happens: events make the pages read again
// what they are about.
import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { api } from "../api/client";

/** What each event is about, by the first member of the queries' keys. */
const about: Record<string, string[]> = {
  "request.updated": ["requests", "request"],
  "approval.updated": ["approvals", "approval", "pending"],
  "cert.downloaded": ["events", "requests", "request", "audit"],
  "policy.updated": ["policy", "preview", "audit"],
};

const retryMillis = 3_000;

/** A request may change a moment after the event that tells of it. */
const settledMillis = 1_500;

export function useLive(pid: string) {
  const queries = useQueryClient();
  useEffect(() => follow(pid, queries), [pid, queries]);
}

/**
 * Follows the stream until the function that it returns is called, except while
 * nobody can see the page: a browser holds six connections to a server, for all
 * its tabs (RFC 9112, section 9.4), and another tab may need them.
 */
function follow(pid: string, queries: QueryClient) {
  let source: EventSource | undefined;
  let [again, later]: ReturnType<typeof setTimeout>[] = [];
  let [missed, refused] = [false, false];
  const read = (keys: Iterable<string>) => {
    for (const key of keys) void queries.invalidateQueries({ queryKey: [key] });
  };
  const everything = () => read(new Set(Object.values(about).flat()));
  const open = () => {
    source = new EventSource(`/api/v1/projects/${encodeURIComponent(pid)}/stream`);
    for (const [type, keys] of Object.entries(about))
      source.addEventListener(type, () => {
        read(keys);
        clearTimeout(later);
        later = setTimeout(everything, settledMillis);
      });
    source.onopen = () => {
      if (missed) everything();
      [missed, refused] = [false, false];
    };
    source.onerror = () => {
      missed = true;
      if (source?.readyState !== EventSource.CLOSED) {
        void api.GET("/healthz").catch(() => {}); // the browser resumes it by itself, if the server is there
        return;
      }
      if (!refused) void queries.invalidateQueries({ queryKey: ["me"] }); // the session may have ended
      refused = true;
      again = setTimeout(open, retryMillis);
    };
  };
  const close = () => {
    clearTimeout(again);
    clearTimeout(later);
    source?.close();
  };
  const look = () => {
    close();
    missed = true;
    if (!document.hidden) open();
  };
  document.addEventListener("visibilitychange", look);
  if (!document.hidden) open();
  return () => {
    document.removeEventListener("visibilitychange", look);
    close();
  };
}
