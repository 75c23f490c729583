// Download requests: one's own, or everybody's for those who approve.
import { Anchor, Group, SegmentedControl, Select, Table, Text } from "@mantine/core";
import { Link, useSearchParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { CertificateName } from "../components/request-details";
import { Paged, usePages } from "../components/paged-list";
import { Empty, Heading } from "../components/page-states";
import { requestStates, Status } from "../components/status";
import { Countdown, Time } from "../components/time";
import { Awaited, called, usePending } from "../components/awaited-approvers";
import { useMay, useProject } from "../hooks/project";
import { useMe } from "../components/session";
import { clearable } from "../components/theme";

type Request = Schemas["Request"];

/** When a request's present state ends by itself. */
export function deadline(r: Request): string | null {
  return { pending_approval: r.approval_expires_at, approved: r.claim_expires_at, issued: r.expires_at }[r.status] ?? null;
}

export default function Requests() {
  const { id: pid } = useProject();
  const me = useMe();
  const approver = useMay("approver");
  const [search, setSearch] = useSearchParams();
  const asked = search.get("status") ?? "";
  const status = asked in requestStates ? asked : "";
  const everybody = approver && search.get("who") === "all";
  const requester = everybody ? "" : me.user.id;
  const found = usePages<Request>(["requests", pid, status, requester], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/requests", { params: { path: { pid }, query: { status, requester, limit: 50, cursor } } })),
  );
  const show = (name: string, value: string) =>
    setSearch((before) => {
      if (value) before.set(name, value);
      else before.delete(name);
      return before;
    });
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
          onChange={(value) => show("status", value ?? "")}
        />
        {approver && (
          <SegmentedControl
            aria-label="Whose"
            data={[
              { value: "", label: "Mine" },
              { value: "all", label: "Everybody's" },
            ]}
            value={everybody ? "all" : ""}
            onChange={(value) => show("who", value)}
          />
        )}
      </Group>
      <Paged
        of={found}
        empty={<Empty title={status ? "No request is in this state" : "There are no requests yet"}>Choose a certificate and Download: what you ask for stands here.</Empty>}
      >
        {(all) => <RequestTable all={all} everybody={everybody} />}
      </Paged>
    </>
  );
}

function RequestTable({ all, everybody }: { all: Request[]; everybody: boolean }) {
  const pending = usePending().data?.items;
  return (
    <Table.ScrollContainer minWidth={720}>
      <Table highlightOnHover verticalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>File</Table.Th>
            {everybody && <Table.Th>Asked by</Table.Th>}
            <Table.Th>State</Table.Th>
            <Table.Th>Waits for</Table.Th>
            <Table.Th>Time left</Table.Th>
            <Table.Th>Asked</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {all.map((r) => (
            <Table.Tr key={r.id}>
              <Table.Td>
                <Anchor component={Link} to={r.id} fw={500}>
                  {r.filename}
                </Anchor>
                <Text size="xs">
                  <CertificateName id={r.certificate_id} />
                </Text>
              </Table.Td>
              {everybody && <Table.Td>{called(r.requester)}</Table.Td>}
              <Table.Td>
                <Status of={r.status} among={requestStates} />
              </Table.Td>
              <Table.Td maw={260}>
                <WaitsFor request={r} approval={pending?.find((a) => a.request_id === r.id)} />
              </Table.Td>
              <Table.Td>{deadline(r) && <Countdown until={deadline(r)!} over="0:00" />}</Table.Td>
              <Table.Td>
                <Time at={r.created_at} />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function WaitsFor({ request: r, approval }: { request: Request; approval?: Schemas["Approval"] }) {
  const me = useMe();
  // Who decided already is known of the newest alone.
  if (r.status === "pending_approval") return approval ? <Awaited requester={r.requester.person} required={r.required_approvals} decisions={approval.decisions ?? []} /> : <>Approvers</>;
  if (r.status === "approved") return <>{r.requester.person === me.user.id ? "You" : called(r.requester)}, to fetch the file</>;
  if (r.status === "issued") return <>Whoever has the link</>;
  return null;
}
