// The approvals: what waits for a decision first, then what was decided.
import { Anchor, Badge, Table, Tabs, Text } from "@mantine/core";
import { Link, useSearchParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { File } from "../components/request-details";
import { Paged, usePages } from "../components/paged-list";
import { Empty, Heading } from "../components/page-states";
import { approvalStates, Status } from "../components/status";
import { Countdown, Time } from "../components/time";
import { Awaited, called, usePending } from "../components/awaited-approvers";
import { useMay, useProject } from "../hooks/project";
import { useMe } from "../components/session";

export default function Approvals() {
  const [search, setSearch] = useSearchParams();
  const tab = search.get("show") === "settled" ? "settled" : "pending";
  const pending = usePending().data;
  const count = pending?.items?.length ?? 0;
  return (
    <>
      <Heading>Approvals</Heading>
      <Tabs value={tab} onChange={(value) => setSearch(value === "settled" ? { show: "settled" } : {})} keepMounted={false}>
        <Tabs.List mb="md">
          <Tabs.Tab value="pending">
            Pending ({count}
            {pending?.next_cursor && "+"})
          </Tabs.Tab>
          <Tabs.Tab value="settled">Settled</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="pending">
          <Inbox status="pending" />
        </Tabs.Panel>
        <Tabs.Panel value="settled">
          <Inbox status="settled" />
        </Tabs.Panel>
      </Tabs>
    </>
  );
}

function Inbox({ status }: { status: "pending" | "settled" }) {
  const { id: pid } = useProject();
  const approver = useMay("approver");
  const found = usePages<Schemas["Approval"]>(["approvals", pid, status], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/approvals", { params: { path: { pid }, query: { status, limit: 50, cursor } } })),
  );
  const pending = status === "pending";
  const empty = (
    <Empty title={pending ? "Nothing waits for a decision" : "Nothing was decided yet"}>
      {pending ? `What needs ${approver ? "your approval" : "approval"} appears here by itself.` : "What is approved, denied, cancelled or lapses stands here."}
    </Empty>
  );
  return (
    <Paged of={found} empty={empty}>
      {(all) => <ApprovalTable all={all} pending={pending} />}
    </Paged>
  );
}

function ApprovalTable({ all, pending }: { all: Schemas["Approval"][]; pending: boolean }) {
  return (
    <Table.ScrollContainer minWidth={720}>
      <Table highlightOnHover verticalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Certificate</Table.Th>
            <Table.Th>File</Table.Th>
            <Table.Th>Asked by</Table.Th>
            <Table.Th>{pending ? "Waits for" : "Outcome"}</Table.Th>
            {pending && <Table.Th>Time left</Table.Th>}
            <Table.Th>Asked</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {all.map((a) => (
            <Row key={a.id} approval={a} pending={pending} />
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
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
        {called(a.requester)}
        {a.requester.person === me.user.id && (
          <Badge ml="xs" variant="default" tt="none">
            you
          </Badge>
        )}
      </Table.Td>
      <Table.Td maw={260}>
        {pending ? <Awaited requester={a.requester.person} required={a.required_approvals} decisions={a.decisions ?? []} /> : <Status of={a.status} among={approvalStates} />}
      </Table.Td>
      {pending && (
        <Table.Td>
          <Countdown until={a.expires_at} over="0:00" />
        </Table.Td>
      )}
      <Table.Td>
        <Time at={a.created_at} />
      </Table.Td>
    </Table.Tr>
  );
}
