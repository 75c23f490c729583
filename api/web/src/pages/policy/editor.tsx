// Changes the policy: edit, confirm what differs, and decide where somebody else
// changed it meanwhile.
import { Alert, Button, Group, Modal, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type SubmitEvent, useState } from "react";
import { api, ProblemError } from "../../api/client";
import { useRefuge } from "../../hooks/focus";
import { Failure } from "../../components/page-states";
import { useProject } from "../../hooks/project";
import { Changes, Conflict } from "./changes";
import { SettingInputs } from "./setting-inputs";
import { differing, effect, type Flat, flat, nested } from "./settings";

/** A policy, and which version of it this is. */
export interface Version {
  policy: Flat;
  etag: string;
}

export async function readPolicy(pid: string): Promise<Version> {
  const { data, response } = await api.GET("/api/v1/projects/{pid}/certificate-policy", { params: { path: { pid } } });
  return { policy: flat(data!), etag: response.headers.get("ETag") ?? "" };
}

async function writePolicy(pid: string, { policy, etag }: Version): Promise<Version> {
  const { data, response } = await api.PUT("/api/v1/projects/{pid}/certificate-policy", { params: { path: { pid }, header: { "If-Match": etag } }, body: nested(policy) });
  return { policy: flat(data!), etag: response.headers.get("ETag") ?? "" };
}

/** What the person made, and of which version they made it. */
interface Draft {
  base: Version;
  mine: Flat;
}

export function PolicyEditor({ now }: { now: Version }) {
  const [made, setMade] = useState<Draft | null>(null);
  const [asking, ask] = useState(false);
  const draft = made ?? { base: now, mine: now.policy };
  const changed = differing(draft.base.policy, draft.mine).length > 0;
  const outcome = useRefuge<HTMLDivElement>(changed); // saving and discarding leave nothing to press
  const submit = (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const wrong = event.currentTarget.querySelector<HTMLElement>('[aria-invalid="true"]');
    if (wrong) wrong.focus();
    else ask(true);
  };
  return (
    <>
      <form onSubmit={submit} noValidate>
        <SettingInputs policy={draft.mine} change={(part) => setMade({ base: draft.base, mine: { ...draft.mine, ...part } })} />
        <Alert ref={outcome} tabIndex={-1} variant="light" my="lg" maw={640} title="What this comes to">
          <Text size="sm">{effect(draft.mine)}</Text>
        </Alert>
        <Group>
          <Button type="submit" disabled={!changed}>
            Save
          </Button>
          <Button variant="default" disabled={!changed} onClick={() => setMade(null)}>
            Discard changes
          </Button>
        </Group>
      </form>
      <Asking draft={draft} setDraft={setMade} opened={asking} close={() => ask(false)} />
    </>
  );
}

interface AskingProps {
  draft: Draft;
  setDraft: (draft: Draft | null) => void;
  opened: boolean;
  close: () => void;
}

function Asking({ draft: { base, mine }, setDraft, opened, close }: AskingProps) {
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
      shut();
      notifications.show({ message: "The policy is saved and in force." });
    },
  });
  const shut = () => {
    setTheirs(null);
    save.reset();
    close();
  };
  const decide = (at: Version) => (policy: Flat) => {
    setDraft({ base: at, mine: policy });
    if (differing(at.policy, policy).length === 0) shut(); // theirs holds already
    setTheirs(null);
    save.reset();
  };
  return (
    <Modal opened={opened} onClose={shut} size="lg" title={theirs ? "Somebody changed the policy meanwhile" : "Change the policy?"} transitionProps={{ duration: 0 }}>
      {theirs ? (
        <Conflict key={theirs.etag} before={base.policy} theirs={theirs.policy} mine={mine} decided={decide(theirs)} />
      ) : (
        <Stack>
          <Changes from={base.policy} to={mine} />
          {save.isError && <Failure error={save.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={shut}>
              Go on editing
            </Button>
            <Button loading={save.isPending} onClick={() => save.mutate()}>
              Change the policy
            </Button>
          </Group>
        </Stack>
      )}
    </Modal>
  );
}
