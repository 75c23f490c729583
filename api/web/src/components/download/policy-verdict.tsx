// The policy's verdict on the chosen download, before the user requests it.
import { Alert, List, Skeleton, Text } from "@mantine/core";
import { IconCheck, IconHourglass, IconX } from "@tabler/icons-react";
import type { Schemas } from "../../api/client";
import { useApprovers, userName } from "../../hooks/members";
import { useMe } from "../../hooks/session";
import { Failure } from "../page-states";

type Verdict = Schemas["Verdict"];

export function PolicyVerdict({ verdict, error }: { verdict?: Verdict; error: Error | null }) {
  return <div aria-live="polite">{error ? <Failure error={error} /> : verdict ? <Explanation verdict={verdict} /> : <Skeleton height={64} radius="md" />}</div>;
}

function Explanation({ verdict }: { verdict: Verdict }) {
  const look = {
    allow: { color: "green", icon: <IconCheck />, title: "Allowed by policy. No approval needed." },
    approval: { color: "yellow", icon: <IconHourglass />, title: `Needs ${verdict.required_approvals === 1 ? "1 approval" : `${verdict.required_approvals} approvals`}` },
    deny: { color: "red", icon: <IconX />, title: "Denied by policy" },
  }[verdict.outcome] ?? { color: "gray", icon: null, title: verdict.outcome };
  return (
    <Alert {...look} variant="light" role="none">
      <Sentences of={verdict.explanation} />
      {verdict.remedies && verdict.remedies.length > 0 && (
        <>
          <Text size="sm" mt="xs">
            What you can do:
          </Text>
          <Sentences of={verdict.remedies} />
        </>
      )}
      {verdict.outcome === "approval" && <Approvers />}
    </Alert>
  );
}

function Sentences({ of }: { of: string[] | null }) {
  return (
    <List size="sm">
      {of?.map((sentence) => (
        <List.Item key={sentence}>{sentence}</List.Item>
      ))}
    </List>
  );
}

/** Names the approvers other than the user. */
function Approvers() {
  const me = useMe();
  const names = (useApprovers() ?? []).filter((m) => m.user_id !== me.user.id).map(userName);
  if (names.length === 0) return null;
  return (
    <Text size="sm" mt="xs">
      Who can approve: {names.join(", ")}.
    </Text>
  );
}
