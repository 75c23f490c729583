// The people of a project, as several pages name them.
import { useQuery } from "@tanstack/react-query";
import { answer, api } from "../api/client";
import { readAll } from "../components/paged-list";
import { useProject } from "./project";

export const roles = ["viewer", "operator", "approver", "admin"] as const;

export function useMembers() {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["members", pid],
    queryFn: () => readAll((cursor) => answer(api.GET("/api/v1/projects/{pid}/members", { params: { path: { pid }, query: { limit: 200, cursor } } }))),
  });
}

/** What each role may do, for the people who give it. */
export const mayDo: Record<string, string> = {
  viewer: "Viewer: sees certificates, the policy and who is a member",
  operator: "Operator: also downloads, and asks for approval",
  approver: "Approver: also decides on the requests of others",
  admin: "Admin: also sets the policy, members and API keys, and reads the audit log",
};
