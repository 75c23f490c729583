// Reads entries of the audit log.
import { answer, api, type Schemas } from "../../api/client";
import type { paths } from "../../api/schema";

type Query = NonNullable<paths["/api/v1/projects/{pid}/audit-logs"]["get"]["parameters"]["query"]>;

/** Reads a page of a chain's entries. The cast leaves out the text that the same address answers for an export. */
export async function readEntries(chain: string, query: Query): Promise<Schemas["PageAuditEntry"]> {
  return (await answer<unknown>(api.GET("/api/v1/projects/{pid}/audit-logs", { params: { path: { pid: chain }, query } }))) as Schemas["PageAuditEntry"];
}
