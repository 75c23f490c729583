// Who asks, who decides, and what waits for them.
import { useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "./api/client";
import { useMembers } from "./members";
import { useMay, useProject } from "./project";
import { useMe } from "./session";

/** Who did something: a person, perhaps by an API key of theirs. */
export function called(by: Schemas["Requester"]): string {
  return by.type === "api_key" ? `${by.username} (API key ${by.name})` : by.name || by.username;
}

/** The project's members who may approve. */
export function useApprovers(): Schemas["Member"][] {
  return useMembers().data?.items?.filter((m) => m.role === "approver" || m.role === "admin") ?? [];
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

/** Who may still decide on what somebody asked for. */
export function Awaited({ requester, required, decisions }: { requester: string; required: number; decisions: Schemas["Decision"][] }) {
  const me = useMe();
  const able = useApprovers().filter((m) => m.user_id !== requester && !decisions.some((d) => d.actor.person === m.user_id));
  const missing = required - decisions.filter((d) => d.decision === "approve").length;
  const names = able.map((m) => (m.user_id === me.user.id ? "you" : m.name || m.username));
  if (able.length < missing) return <>Too few people may approve it: an administrator has to add approvers.</>;
  return (
    <>
      {missing === 1 ? "One" : missing} of: {names.join(", ")}
    </>
  );
}
