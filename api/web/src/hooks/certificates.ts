// Certificates, as several pages read them.
import { useQuery } from "@tanstack/react-query";
import { answer, api } from "../api/client";
import { useProject } from "./project";

export function useCertificate(cid: string, staleTime?: number) {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["certificate", pid, cid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/certificates/{cid}", { params: { path: { pid, cid } } })),
    staleTime,
  });
}

/** The name of a certificate whose id is known; its id if it cannot be read. */
export function useCertificateName(cid: string): string {
  const certificate = useCertificate(cid, Infinity); // the name never changes
  return certificate.data?.name ?? (certificate.isError ? cid : "…");
}
