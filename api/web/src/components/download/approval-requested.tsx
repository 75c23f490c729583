// A download that waits for people.
import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { IconHourglass } from "@tabler/icons-react";
import { Link } from "react-router";
import type { Schemas } from "../../api/client";
import { useRefuge } from "../../hooks/focus";
import { Time } from "../time";
import { useProject } from "../../hooks/project";

export function Asked({ pending, close }: { pending: Schemas["Pending"]; close: () => void }) {
  const { id: pid } = useProject();
  const alert = useRefuge<HTMLDivElement>(pending.request_id, true);
  return (
    <Stack>
      <Alert ref={alert} tabIndex={-1} color="yellow" variant="light" icon={<IconHourglass />} title="Waiting for approval" role="status">
        <Text size="sm">
          {pending.required_approvals === 1 ? "One person has" : `${pending.required_approvals} people have`} to approve it before <Time at={pending.approval_expires_at} />. Then you fetch the file from the request
          {pending.passphrase_at_claim && "; you set its passphrase there"}.
        </Text>
      </Alert>
      <Group justify="flex-end">
        <Button variant="default" onClick={close}>
          Close
        </Button>
        <Button component={Link} to={`/projects/${pid}/requests/${pending.request_id}`}>
          Show the request
        </Button>
      </Group>
    </Stack>
  );
}
