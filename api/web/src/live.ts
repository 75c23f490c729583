// What happens in the project, as it happens: events make the pages read again
// what they are about.
import { useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";

/** What each event is about, by the first member of the queries' keys. */
const about: Record<string, string[]> = {
  "request.updated": ["requests", "request"],
  "approval.updated": ["approvals", "approval", "pending"],
  "cert.downloaded": ["events", "requests", "request", "audit"],
};

const retryMillis = 3_000;

export function useLive(pid: string) {
  const queries = useQueryClient();
  useEffect(() => {
    let source: EventSource;
    let again: ReturnType<typeof setTimeout>;
    const open = () => {
      source = new EventSource(`/api/v1/projects/${encodeURIComponent(pid)}/stream`);
      for (const [type, keys] of Object.entries(about))
        source.addEventListener(type, () => {
          for (const key of keys) void queries.invalidateQueries({ queryKey: [key] });
        });
      source.onerror = () => {
        if (source.readyState !== EventSource.CLOSED) return; // the browser resumes it by itself
        // Refused: the session may have ended or the server is down. What was
        // missed meanwhile is read again once the stream is back.
        again = setTimeout(() => {
          open();
          for (const key of new Set(Object.values(about).flat())) void queries.invalidateQueries({ queryKey: [key] });
        }, retryMillis);
      };
    };
    open();
    return () => {
      clearTimeout(again);
      source.close();
    };
  }, [pid, queries]);
}
