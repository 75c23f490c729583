// Whether the audit log is whole, as the server finds when asked: it reads all of it.
import { Alert, Button, Code, Group, Text } from "@mantine/core";
import { IconAlertTriangle, IconShieldCheck } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../../api/client";
import { now } from "../../hooks/clock";
import { Failure } from "../../components/page-states";
import { Time } from "../../components/time";

export function Verify({ chain }: { chain: string }) {
  const verify = useMutation({
    mutationFn: async () => ({
      ...(await answer(api.GET("/api/v1/projects/{pid}/audit-logs/verify", { params: { path: { pid: chain } } }))),
      at: new Date(now()).toISOString(),
    }),
  });
  return (
    <div aria-live="polite">
      <Group mb="md">
        <Button variant="default" loading={verify.isPending} onClick={() => verify.mutate()} leftSection={<IconShieldCheck size={18} />}>
          Verify the whole log
        </Button>
        {verify.isIdle && <Text size="sm">Each entry holds the hash of the one before: a change, gap or reordering shows.</Text>}
      </Group>
      {verify.isError && <Failure error={verify.error} />}
      {verify.data && <Verdict of={verify.data} />}
    </div>
  );
}

function Verdict({ of: v }: { of: Schemas["AuditVerdict"] & { at: string } }) {
  return (
    <Alert
      color={v.ok ? "green" : "red"}
      variant="light"
      mb="md"
      icon={v.ok ? <IconShieldCheck /> : <IconAlertTriangle />}
      title={v.ok ? `The log is whole: ${v.entries} entries` : `The log is broken at entry ${v.broken_at}`}
    >
      <Text size="sm">
        {!v.ok && `${v.problem} The ${v.entries} entries before it are whole. Keep a copy of the log and of its storage before anything else. `}
        Verified <Time at={v.at} />.
      </Text>
      {v.entries > 0 && (
        <Text size="sm" style={{ overflowWrap: "anywhere" }}>
          To prove later that nothing before it was rewritten, note down entry {v.head.seq} with its hash: <Code>{v.head.hash}</Code>
        </Text>
      )}
    </Alert>
  );
}
