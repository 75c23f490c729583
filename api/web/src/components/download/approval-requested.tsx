// Tells the requester that the download now waits for approval, and what follows.
import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { IconHourglass } from "@tabler/icons-react";
import { Link } from "react-router";
import type { Schemas } from "../../api/client";
import { useFocusOnChange } from "../../hooks/focus";
import { useProject } from "../../hooks/project";
import { Time } from "../time";

export function ApprovalRequested({ pending, close }: { pending: Schemas["Pending"]; close: () => void }) {
  const { id: pid } = useProject();
  const alert = useFocusOnChange<HTMLDivElement>(pending.request_id, true);
  return (
    <Stack>
      <Alert ref={alert} tabIndex={-1} color="yellow" variant="light" icon={<IconHourglass />} title="Approval requested" role="status">
        <Text size="sm">
          {pending.required_approvals === 1 ? "One person has" : `${pending.required_approvals} people have`} to approve before <Time at={pending.approval_expires_at} />. Then you generate the link on the request’s page
          {pending.passphrase_at_claim && ", where you also set the passphrase"}.
        </Text>
      </Alert>
      <Group justify="flex-end">
        <Button variant="default" onClick={close}>
          Close
        </Button>
        <Button component={Link} to={`/projects/${pid}/requests/${pending.request_id}`}>
          Open request
        </Button>
      </Group>
    </Stack>
  );
}
