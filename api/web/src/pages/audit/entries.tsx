// The entries of the audit log, and all properties of one entry.
import { Anchor, Badge, Drawer, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useRef } from "react";
import { Link } from "react-router";
import type { Schemas } from "../../api/client";
import { Copyable } from "../../components/copyable";
import { DataTable } from "../../components/data-table";
import { FactTable } from "../../components/facts";
import { QueryState } from "../../components/page-states";
import { Time } from "../../components/time";
import { useProject } from "../../hooks/project";
import { actionLabel } from "./actions";
import { readEntries } from "./read";

type Entry = Schemas["AuditEntry"];

const colors: Record<string, string> = { success: "green", refused: "orange", failed: "red" };

function Outcome({ value }: { value: string }) {
  return (
    <Badge color={colors[value] ?? "gray"} variant="light" tt="none" autoContrast>
      {value}
    </Badge>
  );
}

export function EntryTable({ entries, address }: { entries: Entry[]; address: (seq: number) => string }) {
  return (
    <DataTable minWidth={640} columns={["#", "Time", "Event", "Outcome", "Person", "From"]}>
      {entries.map((e) => (
        <Table.Tr key={e.seq}>
          <Table.Td>
            <Anchor component={Link} to={address(e.seq)} aria-label={`Entry ${e.seq}`}>
              {e.seq}
            </Anchor>
          </Table.Td>
          <Table.Td>
            <Time at={e.time} />
          </Table.Td>
          <Table.Td>
            {actionLabel(e.action)}
            {e.format && ` (${e.format})`}
          </Table.Td>
          <Table.Td>
            <Outcome value={e.outcome} />
          </Table.Td>
          <Table.Td>{e.actor.name || e.actor.id || e.actor.type}</Table.Td>
          <Table.Td>{e.ip}</Table.Td>
        </Table.Tr>
      ))}
    </DataTable>
  );
}

interface DrawerProps {
  chain: string;
  seq: number;
  opened: boolean;
  close: () => void;
}

export function EntryDrawer({ chain, seq, opened, close }: DrawerProps) {
  const last = useRef(seq); // keeps the entry on the page while the drawer closes
  if (opened) last.current = seq;
  return (
    <Drawer opened={opened} onClose={close} position="right" size="lg" title={`Audit entry ${last.current}`}>
      <EntryDetails chain={chain} seq={last.current} />
    </Drawer>
  );
}

function EntryDetails({ chain, seq }: { chain: string; seq: number }) {
  const project = `/projects/${useProject().id}`;
  const query = useQuery({
    queryKey: ["audit", chain, "entry", seq],
    queryFn: async () => (await readEntries(chain, { seq })).items?.[0] ?? null,
    staleTime: Infinity, // an entry never changes
  });
  if (query.data === null) return <Text>There is no entry {seq}.</Text>;
  if (!query.data) return <QueryState query={query} />;
  const e = query.data;
  const link = (to: string, id: string) =>
    id ? (
      <Anchor component={Link} to={`${project}/${to}/${id}`}>
        {id}
      </Anchor>
    ) : (
      "none"
    );
  return (
    <FactTable
      facts={[
        ["Time", <><Time at={e.time} /> ({e.time})</>],
        ["Event", `${actionLabel(e.action)}: ${e.action}`],
        ["Outcome", <Outcome value={e.outcome} />],
        ["Person", `${e.actor.name} (${e.actor.type} ${e.actor.id})`],
        ["From", e.ip || "none"],
        ["User agent", e.user_agent || "none"],
        ["Certificate", link("certificates", e.certificate_id)],
        ["Request", link("requests", e.request_id)],
        ["Format", e.format || "none"],
        ...Object.entries(e.detail),
        ["Hash", <Copyable text={e.hash} what="hash" />],
        ["Previous hash", e.prev_hash ? <Copyable text={e.prev_hash} what="previous hash" /> : "none"],
      ]}
    />
  );
}
