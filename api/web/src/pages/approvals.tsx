// The approvals: those that wait for a decision, and those that were decided.
import { Anchor, Badge, Table, Tabs, Text } from "@mantine/core";
import { Link, useSearchParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { AwaitedApprovers } from "../components/awaited-approvers";
import { DataTable } from "../components/data-table";
import { Empty, Heading } from "../components/page-states";
import { PagedList } from "../components/paged-list";
import { File } from "../components/request-details";
import { approvalStates, Status } from "../components/status";
import { Countdown, Time } from "../components/time";
import { usePendingApprovals } from "../hooks/approvals";
import { displayName } from "../hooks/members";
import { usePages } from "../hooks/paging";
import { useHasRole, useProject } from "../hooks/project";
import { useMe } from "../hooks/session";

export default function Approvals() {
  const [search, setSearch] = useSearchParams();
  const tab = search.get("show") === "settled" ? "settled" : "pending";
  const pending = usePendingApprovals().data;
  const count = pending?.items?.length ?? 0;
  return (
    <>
      <Heading>Approvals</Heading>
      <Tabs value={tab} onChange={(value) => setSearch(value === "settled" ? { show: "settled" } : {})} keepMounted={false}>
        <Tabs.List mb="md">
          <Tabs.Tab value="pending">
            Waiting ({count}
            {pending?.next_cursor && "+"})
          </Tabs.Tab>
          <Tabs.Tab value="settled">Decided</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="pending">
          <ApprovalList status="pending" />
        </Tabs.Panel>
        <Tabs.Panel value="settled">
          <ApprovalList status="settled" />
        </Tabs.Panel>
      </Tabs>
    </>
  );
}

function ApprovalList({ status }: { status: "pending" | "settled" }) {
  const { id: pid } = useProject();
  const approver = useHasRole("approver");
  const approvals = usePages<Schemas["Approval"]>(["approvals", pid, status], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/approvals", { params: { path: { pid }, query: { status, limit: 50, cursor } } })),
  );
  const pending = status === "pending";
  const empty = (
    <Empty title={!pending ? "Nothing was decided yet" : approver ? "Nothing is waiting for you" : "Nothing is waiting for approval"}>
      {pending ? "Requests that need approval appear here automatically." : "Approvals that were approved, denied or cancelled, or that expired, appear here."}
    </Empty>
  );
  return (
    <PagedList query={approvals} empty={empty}>
      {(all) => (
        <DataTable minWidth={720} columns={["Certificate", "File", "Requester", pending ? "Waiting for" : "Outcome", pending && "Time left", "Requested"]}>
          {all.map((a) => (
            <Row key={a.id} approval={a} pending={pending} />
          ))}
        </DataTable>
      )}
    </PagedList>
  );
}

function Row({ approval: a, pending }: { approval: Schemas["Approval"]; pending: boolean }) {
  const me = useMe();
  return (
    <Table.Tr>
      <Table.Td>
        <Anchor component={Link} to={a.id} fw={500}>
          {a.certificate.name}
        </Anchor>
        <Text size="xs" lineClamp={1}>
          {a.reason}
        </Text>
      </Table.Td>
      <Table.Td>
        <File format={a.format} filename={a.filename} />
      </Table.Td>
      <Table.Td>
        {displayName(a.requester)}
        {a.requester.person === me.user.id && (
          <Badge ml="xs" variant="default" tt="none">
            you
          </Badge>
        )}
      </Table.Td>
      <Table.Td maw={260}>
        {pending ? <AwaitedApprovers requester={a.requester.person} required={a.required_approvals} decisions={a.decisions ?? []} /> : <Status value={a.status} states={approvalStates} />}
      </Table.Td>
      {pending && (
        <Table.Td>
          <Countdown until={a.expires_at} />
        </Table.Td>
      )}
      <Table.Td>
        <Time at={a.created_at} />
      </Table.Td>
    </Table.Tr>
  );
}
