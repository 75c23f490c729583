// The members of the project.
import { useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { readAll } from "./paging";
import { type Role, roles, useProject } from "./project";

export function useMembers() {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["members", pid],
    queryFn: () => readAll((cursor) => answer(api.GET("/api/v1/projects/{pid}/members", { params: { path: { pid }, query: { limit: 200, cursor } } }))),
  });
}

/** The members who may approve; undefined while they load. */
export function useApprovers(): Schemas["Member"][] | undefined {
  return useMembers().data?.filter((m) => !m.disabled && (m.role === "approver" || m.role === "admin"));
}

/** The name to show for a user. */
export function userName(user: { name: string; username: string }): string {
  return user.name || user.username;
}

/** The name to show for who made a request or decided on one: a user, or a user's API key. */
export function displayName(by: Schemas["Requester"]): string {
  return by.type === "api_key" ? `${by.username} (API key ${by.name})` : userName(by);
}

const permissions: Record<Role, string> = {
  viewer: "Viewer: sees certificates, the policy and the members",
  operator: "Operator: also downloads and requests approval",
  approver: "Approver: also decides on the requests of others",
  admin: "Admin: also changes the policy, members and API keys, and reads the audit log",
};

/** The roles up to the given one, as choices of a field. */
export function roleChoices(highest: Role = "admin"): { value: Role; label: string }[] {
  return roles.slice(0, roles.indexOf(highest) + 1).map((value) => ({ value, label: permissions[value] }));
}
