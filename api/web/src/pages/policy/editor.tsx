// Edits the policy: the user changes settings, confirms the differences, and resolves
// a conflict if somebody else changed the policy meanwhile.
import { Alert, Button, Group, Modal, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type SubmitEvent, useState } from "react";
import { api, ProblemError } from "../../api/client";
import { Failure } from "../../components/page-states";
import { useFocusOnChange } from "../../hooks/focus";
import { useProject } from "../../hooks/project";
import { Changes, Conflict } from "./changes";
import { SettingInputs } from "./setting-inputs";
import { differences, type FlatPolicy, flatten, nest, summary } from "./settings";

/** A policy with the ETag of its version. */
export interface Version {
  policy: FlatPolicy;
  etag: string;
}

export async function readPolicy(pid: string): Promise<Version> {
  const { data, response } = await api.GET("/api/v1/projects/{pid}/certificate-policy", { params: { path: { pid } } });
  return { policy: flatten(data!), etag: response.headers.get("ETag") ?? "" };
}

async function writePolicy(pid: string, { policy, etag }: Version): Promise<Version> {
  const { data, response } = await api.PUT("/api/v1/projects/{pid}/certificate-policy", { params: { path: { pid }, header: { "If-Match": etag } }, body: nest(policy) });
  return { policy: flatten(data!), etag: response.headers.get("ETag") ?? "" };
}

/** The user's unsaved policy, and the version that it is based on. */
interface Draft {
  base: Version;
  mine: FlatPolicy;
}

export function PolicyEditor({ current }: { current: Version }) {
  const [edited, setEdited] = useState<Draft | null>(null);
  const [confirming, setConfirming] = useState(false);
  const draft = edited ?? { base: current, mine: current.policy };
  const changed = differences(draft.base.policy, draft.mine).length > 0;
  const summaryAlert = useFocusOnChange<HTMLDivElement>(changed); // saving and discarding disable the buttons
  const submit = (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const invalid = event.currentTarget.querySelector<HTMLElement>('[aria-invalid="true"]');
    if (invalid) invalid.focus();
    else setConfirming(true);
  };
  return (
    <>
      <form onSubmit={submit} noValidate>
        <SettingInputs policy={draft.mine} change={(part) => setEdited({ base: draft.base, mine: { ...draft.mine, ...part } })} />
        <Alert ref={summaryAlert} tabIndex={-1} variant="light" my="lg" maw={640} title="Summary">
          <Text size="sm">{summary(draft.mine)}</Text>
        </Alert>
        <Group>
          <Button type="submit" disabled={!changed}>
            Save changes
          </Button>
          <Button variant="default" disabled={!changed} onClick={() => setEdited(null)}>
            Discard
          </Button>
        </Group>
      </form>
      <ConfirmDialog draft={draft} setDraft={setEdited} opened={confirming} close={() => setConfirming(false)} />
    </>
  );
}

interface ConfirmProps {
  draft: Draft;
  setDraft: (draft: Draft | null) => void;
  opened: boolean;
  close: () => void;
}

function ConfirmDialog({ draft: { base, mine }, setDraft, opened, close }: ConfirmProps) {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  const [theirs, setTheirs] = useState<Version | null>(null);
  const save = useMutation({
    mutationFn: async () => {
      try {
        return await writePolicy(pid, { policy: mine, etag: base.etag });
      } catch (error) {
        if (error instanceof ProblemError && error.status === 412) setTheirs(await readPolicy(pid));
        throw error;
      }
    },
    onSuccess: (saved) => {
      queries.setQueryData(["policy", pid, "version"], saved);
      void queries.invalidateQueries({ queryKey: ["policy"] });
      void queries.invalidateQueries({ queryKey: ["audit"] });
      setDraft(null);
      reset();
      close();
      notifications.show({ message: "The policy was changed." });
    },
  });
  const reset = () => {
    setTheirs(null);
    save.reset();
  };
  const cancel = () => {
    reset();
    close();
  };
  const resolve = (current: Version) => (policy: FlatPolicy) => {
    setDraft({ base: current, mine: policy });
    if (differences(current.policy, policy).length === 0) cancel(); // the other change is in force already
    else reset();
  };
  return (
    <Modal opened={opened} onClose={cancel} size="lg" title={theirs ? "Somebody else changed the policy" : "Change the policy?"} transitionProps={{ duration: 0 }}>
      {theirs ? (
        <Conflict key={theirs.etag} before={base.policy} theirs={theirs.policy} mine={mine} onResolved={resolve(theirs)} />
      ) : (
        <Stack>
          <Changes from={base.policy} to={mine} />
          {save.isError && <Failure error={save.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={cancel}>
              Cancel
            </Button>
            <Button loading={save.isPending} onClick={() => save.mutate()}>
              Change policy
            </Button>
          </Group>
        </Stack>
      )}
    </Modal>
  );
}
