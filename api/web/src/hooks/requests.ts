// Download requests, as several pages read them.
import { useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { useProject } from "./project";

export function useRequest(rid: string) {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["request", pid, rid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/requests/{rid}", { params: { path: { pid, rid } } })),
  });
}

/** The timeline event of the request's download, which says when and from where; undefined before it. */
export function useDownloadEvent(cid: string, rid: string): Schemas["Event"] | undefined {
  const { id: pid } = useProject();
  const events = useQuery({
    queryKey: ["events", pid, cid, "of", rid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/certificates/{cid}/events", { params: { path: { pid, cid }, query: { request_id: rid, limit: 50 } } })),
  });
  return events.data?.items?.find((e) => e.type === "cert.downloaded");
}
