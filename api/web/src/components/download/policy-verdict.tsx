// What the policy would say, before anybody asks for real.
import { Alert, List, Skeleton, Text } from "@mantine/core";
import { IconCheck, IconHourglass, IconX } from "@tabler/icons-react";
import { keepPreviousData, useQuery, type UseQueryResult } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../../api/client";
import { Failure } from "../page-states";
import { useApprovers } from "../awaited-approvers";
import { useProject } from "../../hooks/project";
import { useMe } from "../session";

type Verdict = Schemas["Verdict"];

/** A verdict and for which format it is: until the next one is there, the one before stays. */
interface Previewed {
  format: string;
  verdict: Verdict;
}

export function usePreview(certificate: string, format: string, options: Record<string, unknown>): UseQueryResult<Previewed> {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["preview", pid, certificate, format, options],
    queryFn: async () => ({
      format,
      verdict: await answer(api.POST("/api/v1/projects/{pid}/certificate-policy/evaluate", { params: { path: { pid } }, body: { certificate_id: certificate, format, options } })),
    }),
    enabled: format !== "",
    placeholderData: keepPreviousData,
    staleTime: 0, // the policy may have been changed a moment ago
  });
}

export function Preview({ preview }: { preview: UseQueryResult<Previewed> }) {
  return (
    <div aria-live="polite">
      {preview.isError ? <Failure error={preview.error} /> : preview.data ? <Said verdict={preview.data.verdict} /> : <Skeleton height={64} radius="md" />}
    </div>
  );
}

function Said({ verdict }: { verdict: Verdict }) {
  const shown = {
    allow: { color: "green", icon: <IconCheck />, title: "The policy allows this download" },
    approval: { color: "yellow", icon: <IconHourglass />, title: `This needs ${verdict.required_approvals === 1 ? "one approval" : `${verdict.required_approvals} approvals`}` },
    deny: { color: "red", icon: <IconX />, title: "The policy refuses this download" },
  }[verdict.outcome] ?? { color: "gray", icon: null, title: verdict.outcome };
  return (
    <Alert color={shown.color} icon={shown.icon} title={shown.title} variant="light" role="none">
      <Lines of={verdict.explanation} />
      {verdict.remedies && verdict.remedies.length > 0 && (
        <>
          <Text size="sm" mt="xs">
            What would change that:
          </Text>
          <Lines of={verdict.remedies} />
        </>
      )}
      {verdict.outcome === "approval" && <Approvers />}
    </Alert>
  );
}

function Lines({ of }: { of: string[] | null }) {
  return (
    <List size="sm">
      {of?.map((line) => (
        <List.Item key={line}>{line}</List.Item>
      ))}
    </List>
  );
}

/** Whom to ask. */
function Approvers() {
  const me = useMe();
  const names = useApprovers()
    .filter((m) => m.user_id !== me.user.id)
    .map((m) => m.name || m.username);
  if (names.length === 0) return null;
  return (
    <Text size="sm" mt="xs">
      Who can approve: {names.join(", ")}.
    </Text>
  );
}
