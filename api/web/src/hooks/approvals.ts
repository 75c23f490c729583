// Approvals, as several pages read them.
import { useQuery } from "@tanstack/react-query";
import { answer, api } from "../api/client";
import { useHasRole, useProject } from "./project";

export function useApproval(aid: string) {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["approval", pid, aid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/approvals/{aid}", { params: { path: { pid, aid } } })),
  });
}

/** The newest 100 pending approvals. */
export function usePendingApprovals() {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["pending", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/approvals", { params: { path: { pid }, query: { status: "pending", limit: 100 } } })),
    enabled: useHasRole("operator"),
  });
}
