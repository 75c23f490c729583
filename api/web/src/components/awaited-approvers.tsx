// Who asks, who decides, and what waits for them.
import { useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { useMembers } from "../hooks/members";
import { useMay, useProject } from "../hooks/project";
import { useMe } from "./session";

/** Who did something: a person, perhaps by an API key of theirs. */
export function called(by: Schemas["Requester"]): string {
  return by.type === "api_key" ? `${by.username} (API key ${by.name})` : by.name || by.username;
}

/** The members who may approve. */
function approversOf(members: Schemas["Member"][]): Schemas["Member"][] {
  return members.filter((m) => !m.disabled && (m.role === "approver" || m.role === "admin"));
}

export function useApprovers(): Schemas["Member"][] {
  return approversOf(useMembers().data ?? []);
}

/** The approvals that wait for somebody, the newest of them if there are many. */
export function usePending() {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["pending", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/approvals", { params: { path: { pid }, query: { status: "pending", limit: 100 } } })),
    enabled: useMay("operator"),
  });
}

/** Who may still decide on what somebody asked for. Says nothing while it is not known. */
export function Awaited({ requester, required, decisions }: { requester: string; required: number; decisions: Schemas["Decision"][] }) {
  const me = useMe();
  const members = useMembers().data;
  if (!members) return null;
  const may = (id: string) => id !== requester && !decisions.some((d) => d.actor.person === id);
  const able = approversOf(members).filter((m) => may(m.user_id));
  const others = able.filter((m) => m.user_id !== me.user.id).map((m) => m.name || m.username);
  // A system administrator reaches every project, as a member or not.
  const names = able.length > others.length || (me.user.system_admin && may(me.user.id)) ? ["you", ...others] : others;
  const missing = required - decisions.filter((d) => d.decision === "approve").length;
  if (names.length < missing) return <>Too few members may approve it: an administrator has to add approvers.</>;
  return (
    <>
      {missing === 1 ? "One" : missing} of: {names.join(", ")}
    </>
  );
}
