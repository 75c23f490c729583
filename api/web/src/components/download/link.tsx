// The download link, which works once and for minutes: the user clicks, copies or
// revokes it, and sees what became of it.
import { Alert, Button, Code, Group, Stack, Text } from "@mantine/core";
import { IconCheck, IconDownload } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../../api/client";
import { useSecondsLeft } from "../../hooks/clock";
import { useFocusOnChange } from "../../hooks/focus";
import { useFormat } from "../../hooks/formats";
import { useProject } from "../../hooks/project";
import { useDownloadEvent, useRequest } from "../../hooks/requests";
import { CopyableField } from "../copyable";
import { Failure } from "../page-states";
import { Countdown, Time } from "../time";
import { importCommand } from "./choice";

interface Props {
  certificateId: string;
  minted: Schemas["Minted"];
  /** Starts over; absent if the user cannot get another link. */
  newLink?: () => void;
}

export function DownloadLink({ certificateId, minted, newLink }: Props) {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  const secondsLeft = useSecondsLeft(minted.expires_at);
  const request = useRequest(minted.request_id).data;
  const downloaded = useDownloadEvent(certificateId, minted.request_id);
  const download = useMutation({
    // The token travels in the body, so that it is in no browser history and no list of downloads.
    mutationFn: async () => saveFile(await answer(api.POST("/api/v1/downloads", { body: { token: minted.token }, parseAs: "blob" })), minted.filename),
    onSettled: () => void queries.invalidateQueries({ queryKey: ["events"] }),
  });
  const revoke = useMutation({
    mutationFn: () => answer(api.DELETE("/api/v1/projects/{pid}/requests/{rid}/token", { params: { path: { pid, rid: minted.request_id } } })),
    onSettled: () => void queries.invalidateQueries({ queryKey: ["request"] }),
  });
  const revoked = revoke.isSuccess || request?.status === "revoked";
  const state = downloaded || download.isSuccess ? "downloaded" : revoked ? "revoked" : secondsLeft === 0 ? "expired" : "ready";
  return (
    <Stack>
      <LinkState state={state} downloaded={downloaded} settledUnused={request?.status === "expired"} filename={minted.filename} />
      {download.isError && <Failure error={download.error} />}
      {state === "ready" && (
        <>
          <CopyableField what="Link" text={minted.url} />
          <CopyableField what="Command line" text={`curl -fOJ ${minted.url}`} />
          <Text size="sm">
            <Countdown until={minted.expires_at} /> left
          </Text>
        </>
      )}
      {state === "downloaded" && <ImportSteps format={minted.format} options={request?.options} filename={minted.filename} />}
      {/* The two buttons at the right are separate elements, so that a second click on Download cannot start over. */}
      {state === "ready" ? (
        <Group justify="space-between">
          <Button variant="default" color="red" loading={revoke.isPending} onClick={() => revoke.mutate()}>
            Revoke link
          </Button>
          <Button key="download" leftSection={<IconDownload size={18} />} loading={download.isPending} onClick={() => download.mutate()}>
            Download {minted.filename}
          </Button>
        </Group>
      ) : (
        newLink && (
          <Group justify="flex-end">
            <Button key="new" variant="default" onClick={newLink}>
              New link
            </Button>
          </Group>
        )
      )}
      {revoke.isError && <Failure error={revoke.error} />}
    </Stack>
  );
}

/** Makes the browser save a file. */
function saveFile(file: Blob, name: string) {
  const url = URL.createObjectURL(file);
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser has read it by then
}

interface LinkStateProps {
  state: "ready" | "downloaded" | "revoked" | "expired";
  downloaded?: Schemas["Event"];
  /** The server confirms that the link expired unused. */
  settledUnused: boolean;
  filename: string;
}

function LinkState({ state, downloaded, settledUnused, filename }: LinkStateProps) {
  const alert = useFocusOnChange<HTMLDivElement>(state, true);
  const look = {
    downloaded: { color: "green", icon: <IconCheck />, title: `${filename} was downloaded` },
    revoked: { color: "gray", title: "The link was revoked" },
    expired: { color: "gray", title: "The link has expired" },
    ready: { color: "blue", title: "Your link is ready" },
  }[state];
  return (
    <Alert ref={alert} tabIndex={-1} variant="light" role="status" {...look}>
      {state === "downloaded" && downloaded && (
        <>
          <Time at={downloaded.time} /> from {downloaded.ip}.{" "}
        </>
      )}
      {{ downloaded: "The link no longer works.", revoked: "Nobody used it.", expired: settledUnused && "Nobody used it.", ready: "Works once. Whoever has the link gets the file." }[state]}
    </Alert>
  );
}

/** The import commands of the targets that the file's options fit. */
function ImportSteps({ format, options, filename }: { format: string; options?: Record<string, unknown>; filename: string }) {
  const targets = (useFormat(format)?.targets ?? []).filter((t) => Object.entries(t.options).every(([name, value]) => options?.[name] === value));
  if (targets.length === 0) return null;
  return (
    <details>
      <summary>How to import it</summary>
      <Stack gap="xs" mt="xs">
        {targets.map((t) => (
          <div key={t.id}>
            <Text size="sm">{t.title}</Text>
            <Code block>{importCommand(t, filename, options?.alias)}</Code>
          </div>
        ))}
      </Stack>
    </details>
  );
}
