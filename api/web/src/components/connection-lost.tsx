// Says when the server does not answer, and reads everything again once it does.
import { Affix, Notification } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { on } from "../api/client";

const retryMillis = 2_000;

export function Connection() {
  const queries = useQueryClient();
  const [lost, setLost] = useState(false);
  useEffect(() => on({ unreachable: () => setLost(true) }), []);
  useEffect(() => {
    if (!lost) return;
    const retry = setInterval(async () => {
      const answered = await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(retryMillis) }).catch(() => null);
      if (!answered?.ok) return;
      setLost(false);
      void queries.invalidateQueries();
    }, retryMillis);
    return () => clearInterval(retry);
  }, [lost, queries]);
  if (!lost) return null;
  return (
    <Affix position={{ bottom: 16, left: 16, right: 16 }} zIndex={1100} style={{ pointerEvents: "none" }}>
      <Notification role="alert" color="red" withBorder withCloseButton={false} maw={480} mx="auto" title="The server does not answer">
        It is tried again by itself. What you filled in stays.
      </Notification>
    </Affix>
  );
}
