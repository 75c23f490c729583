// Verifies the audit log: the server reads all of it, checks the hash chain and compares
// the documents with it.
import { Alert, Button, Code, Group, Text } from "@mantine/core";
import { IconAlertTriangle, IconShieldCheck } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../../api/client";
import { Failure } from "../../components/page-states";
import { Time } from "../../components/time";
import { now } from "../../hooks/clock";

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
          Verify now
        </Button>
        {verify.isIdle && <Text size="sm">Each entry contains the hash of the entry before it, so a change, a gap or a different order is found. Documents are compared with their entries.</Text>}
      </Group>
      {verify.isError && <Failure error={verify.error} />}
      {verify.data && <Result verified={verify.data} />}
    </div>
  );
}

function Result({ verified: v }: { verified: Schemas["AuditVerdict"] & { at: string } }) {
  const disagreements = v.disagreements ?? [];
  return (
    <Alert
      color={v.ok ? "green" : "red"}
      variant="light"
      mb="md"
      icon={v.ok ? <IconShieldCheck /> : <IconAlertTriangle />}
      title={v.broken_at ? `Chain broken at entry ${v.broken_at}` : v.ok ? `Chain intact: ${v.entries} entries` : "The documents differ from the log"}
    >
      <Text size="sm">
        {v.broken_at && `${v.problem} The ${v.entries} entries before it are intact. `}
        {v.begins_at > 1 && `The chain begins with entry ${v.begins_at}: retention deleted the entries before it, and a later entry proves which. `}
        {!v.ok && "Copy the log and the database before you do anything else. "}
        Verified <Time at={v.at} />.
      </Text>
      {disagreements.map((d) => (
        <Text key={d.document + d.id + d.problem} size="sm" style={{ overflowWrap: "anywhere" }}>
          <Code>{d.document}</Code> {d.id}: {d.problem}.
        </Text>
      ))}
      {v.entries > 0 && (
        <Text size="sm" style={{ overflowWrap: "anywhere" }}>
          To prove later that no entry before it was changed, write down entry {v.head.seq} with its hash: <Code>{v.head.hash}</Code>
        </Text>
      )}
    </Alert>
  );
}
