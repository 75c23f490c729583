// The states of requests and approvals.
import { Badge } from "@mantine/core";

interface State {
  label: string;
  color: string;
}

export const requestStates: Record<string, State> = {
  pending_approval: { label: "Waiting for approval", color: "yellow" },
  approved: { label: "Ready to download", color: "blue" },
  issued: { label: "Link ready", color: "blue" },
  consumed: { label: "Downloaded", color: "green" },
  denied: { label: "Denied", color: "red" },
  expired: { label: "Expired", color: "gray" },
  cancelled: { label: "Cancelled", color: "gray" },
  revoked: { label: "Link revoked", color: "gray" },
};

export const approvalStates: Record<string, State> = {
  pending: { label: "Waiting for approval", color: "yellow" },
  approved: { label: "Approved", color: "green" },
  denied: { label: "Denied", color: "red" },
  expired: { label: "Expired", color: "gray" },
  cancelled: { label: "Cancelled", color: "gray" },
};

export function Status({ value, states }: { value: string; states: Record<string, State> }) {
  const state = states[value];
  return (
    <Badge variant="dot" color={state?.color ?? "gray"} tt="none">
      {state?.label ?? value}
    </Badge>
  );
}
