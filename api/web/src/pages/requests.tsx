// The download requests: the user's own, or everyone's for approvers.
import { Anchor, Group, SegmentedControl, Select, Table, Text } from "@mantine/core";
import { Link, useSearchParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { AwaitedApprovers } from "../components/awaited-approvers";
import { DataTable } from "../components/data-table";
import { Empty, Heading } from "../components/page-states";
import { PagedList } from "../components/paged-list";
import { CertificateName } from "../components/request-details";
import { requestStates, Status } from "../components/status";
import { clearable } from "../components/theme";
import { Countdown, Time } from "../components/time";
import { usePendingApprovals } from "../hooks/approvals";
import { displayName } from "../hooks/members";
import { usePages } from "../hooks/paging";
import { useHasRole, useProject } from "../hooks/project";
import { useMe } from "../hooks/session";

type Request = Schemas["Request"];

export default function Requests() {
  const { id: pid } = useProject();
  const me = useMe();
  const approver = useHasRole("approver");
  const [search, setSearch] = useSearchParams();
  const statusParam = search.get("status") ?? "";
  const status = statusParam in requestStates ? statusParam : "";
  const everyone = approver && search.get("who") === "all";
  const requester = everyone ? "" : me.user.id;
  const requests = usePages<Request>(["requests", pid, status, requester], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/requests", { params: { path: { pid }, query: { status, requester, limit: 50, cursor } } })),
  );
  const setParam = (name: string, value: string) =>
    setSearch((params) => {
      if (value) params.set(name, value);
      else params.delete(name);
      return params;
    });
  const emptyTitle = status ? "No request is in this state" : everyone ? "No requests yet" : "You have not requested anything";
  return (
    <>
      <Heading>Requests</Heading>
      <Group mb="md" align="flex-end">
        <Select
          label="State"
          placeholder="Any"
          {...clearable("State")}
          data={Object.entries(requestStates).map(([value, { label }]) => ({ value, label }))}
          value={status || null}
          onChange={(value) => setParam("status", value ?? "")}
        />
        {approver && (
          <SegmentedControl
            aria-label="Whose requests"
            data={[
              { value: "", label: "Mine" },
              { value: "all", label: "Everyone’s" },
            ]}
            value={everyone ? "all" : ""}
            onChange={(value) => setParam("who", value)}
          />
        )}
      </Group>
      <PagedList query={requests} empty={<Empty title={emptyTitle}>To request a file, open a certificate and click Download.</Empty>}>
        {(all) => <RequestTable requests={all} everyone={everyone} />}
      </PagedList>
    </>
  );
}

/** When the current state ends; null if it does not end by itself. */
function deadline(r: Request): string | null {
  return { pending_approval: r.approval_expires_at, approved: r.claim_expires_at, issued: r.expires_at }[r.status] ?? null;
}

function RequestTable({ requests, everyone }: { requests: Request[]; everyone: boolean }) {
  const pending = usePendingApprovals().data?.items;
  return (
    <DataTable minWidth={720} columns={["File", everyone && "Requester", "State", "Waiting for", "Time left", "Requested"]}>
      {requests.map((r) => (
        <Table.Tr key={r.id}>
          <Table.Td>
            <Anchor component={Link} to={r.id} fw={500}>
              {r.filename}
            </Anchor>
            <Text size="xs">
              <CertificateName id={r.certificate_id} />
            </Text>
          </Table.Td>
          {everyone && <Table.Td>{displayName(r.requester)}</Table.Td>}
          <Table.Td>
            <Status value={r.status} states={requestStates} />
          </Table.Td>
          <Table.Td maw={260}>
            <WaitingFor request={r} approval={pending?.find((a) => a.request_id === r.id)} />
          </Table.Td>
          <Table.Td>{deadline(r) && <Countdown until={deadline(r)!} />}</Table.Td>
          <Table.Td>
            <Time at={r.created_at} />
          </Table.Td>
        </Table.Tr>
      ))}
    </DataTable>
  );
}

function WaitingFor({ request: r, approval }: { request: Request; approval?: Schemas["Approval"] }) {
  const me = useMe();
  // Only the newest pending approvals are loaded, so for older ones it is unknown who decided already.
  if (r.status === "pending_approval") return approval ? <AwaitedApprovers requester={r.requester.person} required={r.required_approvals} decisions={approval.decisions ?? []} /> : <>Approvers</>;
  if (r.status === "approved") return <>{r.requester.person === me.user.id ? "You" : displayName(r.requester)}, to generate the link</>;
  if (r.status === "issued") return <>Whoever has the link</>;
  return null;
}
