// The link to a file, good once and for minutes: to click, to copy, to revoke; and
// what became of it.
import { Alert, Button, Code, Group, Stack, Text } from "@mantine/core";
import { IconCheck, IconDownload } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../../api/client";
import { CopiedField } from "../copyable";
import { useRefuge } from "../../hooks/focus";
import { Failure } from "../page-states";
import { Countdown, Time, useSecondsLeft } from "../time";
import { useProject } from "../../hooks/project";
import { type Format, importCommand } from "../../hooks/formats";

interface Props {
  certificate: { id: string };
  minted: Schemas["Minted"];
  format?: Format;
  again?: () => void;
}

export function Link({ certificate, minted, format, again }: Props) {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  const left = useSecondsLeft(minted.expires_at);
  const request = useQuery({
    queryKey: ["request", pid, minted.request_id],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/requests/{rid}", { params: { path: { pid, rid: minted.request_id } } })),
  });
  const used = useUse(certificate.id, minted.request_id);
  const save = useMutation({
    // With the token in the body, it stands in no history and no list of downloads.
    mutationFn: async () => keep(await answer(api.POST("/api/v1/downloads", { body: { token: minted.token }, parseAs: "blob" })), minted.filename),
    onSettled: () => void queries.invalidateQueries({ queryKey: ["events"] }),
  });
  const revoke = useMutation({
    mutationFn: () => answer(api.DELETE("/api/v1/projects/{pid}/requests/{rid}/token", { params: { path: { pid, rid: minted.request_id } } })),
    onSettled: () => void queries.invalidateQueries({ queryKey: ["request"] }),
  });
  const revoked = revoke.isSuccess || request.data?.status === "revoked";
  const usable = !used && !save.isSuccess && !revoked && left > 0;
  return (
    <Stack>
      <State used={used} saved={save.isSuccess} revoked={revoked} over={left === 0} unused={request.data?.status === "expired"} filename={minted.filename} />
      {save.isError && <Failure error={save.error} />}
      {usable && <Ways minted={minted} />}
      {usable && (
        <Text size="sm">
          It works for <Countdown until={minted.expires_at} over="0:00" /> more.
        </Text>
      )}
      {(used || save.isSuccess) && format && <Import format={format} options={request.data?.options} filename={minted.filename} />}
      <Group justify="space-between">
        {usable ? (
          <Button variant="default" color="red" loading={revoke.isPending} onClick={() => revoke.mutate()}>
            Revoke
          </Button>
        ) : (
          <span />
        )}
        {usable ? (
          <Button key="save" leftSection={<IconDownload size={18} />} loading={save.isPending} onClick={() => save.mutate()}>
            Download {minted.filename}
          </Button>
        ) : (
          again && (
            // Another button, not the same: who pressed that one must not have this one under their finger.
            <Button key="again" variant="default" onClick={again}>
              New download
            </Button>
          )
        )}
      </Group>
      {revoke.isError && <Failure error={revoke.error} />}
    </Stack>
  );
}

/** Has the browser save a file. */
function keep(file: Blob, name: string) {
  const url = URL.createObjectURL(file);
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // once the browser has read it
}

/** When and from where the file of a request was fetched, once it was. */
export function useUse(cid: string, rid: string): Schemas["Event"] | undefined {
  const { id: pid } = useProject();
  const events = useQuery({
    queryKey: ["events", pid, cid, "of", rid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/certificates/{cid}/events", { params: { path: { pid, cid }, query: { request_id: rid, limit: 50 } } })),
  });
  return events.data?.items?.find((e) => e.type === "cert.downloaded");
}

interface StateProps {
  used?: Schemas["Event"];
  saved: boolean;
  revoked: boolean;
  over: boolean;
  /** The server says that it ended so. */
  unused: boolean;
  filename: string;
}

function State({ used, saved, revoked, over, unused, filename }: StateProps) {
  const now = used || saved ? "used" : revoked ? "revoked" : over ? "over" : "ready";
  const alert = useRefuge<HTMLDivElement>(now, true);
  const shown = {
    used: { color: "green", icon: <IconCheck />, title: `${filename} was downloaded` },
    revoked: { color: "gray", title: "The link is revoked" },
    over: { color: "gray", title: "The link has expired" },
    ready: { color: "blue", title: "Your link is ready" },
  }[now];
  return (
    <Alert ref={alert} tabIndex={-1} variant="light" role="status" {...shown}>
      {now === "used" && used && (
        <>
          <Time at={used.time} /> from {used.ip}.{" "}
        </>
      )}
      {{ used: "The link is used up.", revoked: "Nobody used it.", over: unused && "Nobody used it.", ready: "It works once. Whoever has it gets the file: send it to nobody who must not have it." }[now]}
    </Alert>
  );
}

function Ways({ minted }: { minted: Schemas["Minted"] }) {
  const curl = `curl -fOJ ${minted.url}`;
  return (
    <>
      <CopiedField what="Link" text={minted.url} />
      <CopiedField what="From the command line" text={curl} />
    </>
  );
}

/** How to import the file where its options were made for. */
function Import({ format, options, filename }: { format: Format; options?: Record<string, unknown>; filename: string }) {
  const fitting = (format.targets ?? []).filter((t) => Object.entries(t.options).every(([name, value]) => options?.[name] === value));
  if (fitting.length === 0) return null;
  return (
    <details>
      <summary>How to import it</summary>
      <Stack gap="xs" mt="xs">
        {fitting.map((t) => (
          <div key={t.id}>
            <Text size="sm">{t.title}</Text>
            <Code block>{importCommand(t, filename, options?.alias)}</Code>
          </div>
        ))}
      </Stack>
    </details>
  );
}
