// Tells the user when the server does not answer, and reads all data again once it
// does.
import { Affix, Notification } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { setHandlers } from "../api/client";

const retryMillis = 2_000;

export function ConnectionLost() {
  const queries = useQueryClient();
  const [lost, setLost] = useState(false);
  useEffect(() => setHandlers({ onUnreachable: () => setLost(true) }), []);
  useEffect(() => {
    if (!lost) return;
    const retry = setInterval(async () => {
      const response = await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(retryMillis) }).catch(() => null);
      if (!response?.ok) return;
      setLost(false);
      void queries.invalidateQueries();
    }, retryMillis);
    return () => clearInterval(retry);
  }, [lost, queries]);
  if (!lost) return null;
  return (
    <Affix position={{ bottom: 16, left: 16, right: 16 }} zIndex={1100} style={{ pointerEvents: "none" }}>
      <Notification role="alert" color="red" withBorder withCloseButton={false} maw={480} mx="auto" title="The server does not answer">
        This page tries again automatically. What you filled in is kept.
      </Notification>
    </Affix>
  );
}
