// The entries of the audit log as the API lists them.
import { answer, api, type Schemas } from "../../api/client";
import type { paths } from "../../api/schema";

type Query = NonNullable<paths["/api/v1/projects/{pid}/audit-logs"]["get"]["parameters"]["query"]>;

/** A page of a chain's entries. The API's document also has text, which is what an export would be. */
export async function readAudit(pid: string, query: Query): Promise<Schemas["PageAuditEntry"]> {
  return (await answer<unknown>(api.GET("/api/v1/projects/{pid}/audit-logs", { params: { path: { pid }, query } }))) as Schemas["PageAuditEntry"];
}
