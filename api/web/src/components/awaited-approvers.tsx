// The approvers who can still decide on a request.
import type { Schemas } from "../api/client";
import { useApprovers, userName } from "../hooks/members";
import { useMe } from "../hooks/session";

interface Props {
  /** The id of the requester, who may not approve their own request. */
  requester: string;
  required: number;
  decisions: Schemas["Decision"][];
}

export function AwaitedApprovers({ requester, required, decisions }: Props) {
  const me = useMe();
  const approvers = useApprovers();
  if (!approvers) return null;
  const mayDecide = (id: string) => id !== requester && !decisions.some((d) => d.actor.person === id);
  const eligible = approvers.filter((m) => mayDecide(m.user_id));
  const others = eligible.filter((m) => m.user_id !== me.user.id).map(userName);
  // System administrators may approve in every project, also without being a member.
  const names = eligible.length > others.length || (me.user.system_admin && mayDecide(me.user.id)) ? ["you", ...others] : others;
  const missing = required - decisions.filter((d) => d.decision === "approve").length;
  if (missing <= 0) return <>any approver: with the next decision, all are counted again</>;
  if (names.length < missing) return <>Too few members may approve: an administrator has to add approvers.</>;
  return (
    <>
      {missing} of: {names.join(", ")}
    </>
  );
}
