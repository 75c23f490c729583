// The entries of the audit log, and all that is on record of one.
import { Anchor, Badge, Drawer, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useRef } from "react";
import { Link } from "react-router";
import type { Schemas } from "../../api/client";
import { Copied } from "../../components/copyable";
import { Unready } from "../../components/page-states";
import { Time } from "../../components/time";
import { useProject } from "../../hooks/project";
import { called } from "./actions";
import { readAudit } from "./read";

type Entry = Schemas["AuditEntry"];

const colors: Record<string, string> = { success: "green", refused: "orange", failed: "red" };

function Outcome({ of }: { of: string }) {
  return (
    <Badge color={colors[of] ?? "gray"} variant="light" tt="none" autoContrast>
      {of}
    </Badge>
  );
}

export function EntryTable({ all, address }: { all: Entry[]; address: (seq: number) => string }) {
  return (
    <Table.ScrollContainer minWidth={640}>
      <Table highlightOnHover verticalSpacing="xs">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Entry</Table.Th>
            <Table.Th>Time</Table.Th>
            <Table.Th>Action</Table.Th>
            <Table.Th>Outcome</Table.Th>
            <Table.Th>Who</Table.Th>
            <Table.Th>From</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {all.map((e) => (
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
                {called(e.action)}
                {e.format && ` (${e.format})`}
              </Table.Td>
              <Table.Td>
                <Outcome of={e.outcome} />
              </Table.Td>
              <Table.Td>{e.actor.name || e.actor.id || e.actor.type}</Table.Td>
              <Table.Td>{e.ip}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

interface DetailProps {
  chain: string;
  seq: number;
  opened: boolean;
  close: () => void;
}

export function EntryDetail({ chain, seq, opened, close }: DetailProps) {
  const last = useRef(seq); // while it closes, the address names none
  if (opened) last.current = seq;
  return (
    <Drawer opened={opened} onClose={close} position="right" size="lg" title={`Audit entry ${last.current}`}>
      <One chain={chain} seq={last.current} />
    </Drawer>
  );
}

function One({ chain, seq }: { chain: string; seq: number }) {
  const found = useQuery({
    queryKey: ["audit", chain, "entry", seq],
    queryFn: async () => (await readAudit(chain, { seq })).items?.[0] ?? null,
    staleTime: Infinity, // it never changes
  });
  if (found.data === null) return <Text>There is no entry {seq}.</Text>;
  return found.data ? <Members of={found.data} /> : <Unready of={found} />;
}

function Members({ of: e }: { of: Entry }) {
  const project = `/projects/${useProject().id}`;
  const link = (to: string, id: string) =>
    id && (
      <Anchor component={Link} to={`${project}/${to}/${id}`}>
        {id}
      </Anchor>
    );
  const row = (name: string, value: ReactNode) => (
    <Table.Tr key={name}>
      <Table.Th scope="row" w={130}>
        {name}
      </Table.Th>
      <Table.Td style={{ overflowWrap: "anywhere" }}>{value || "none"}</Table.Td>
    </Table.Tr>
  );
  return (
    <Table variant="vertical" layout="fixed">
      <Table.Tbody>
        {row("Time", <><Time at={e.time} /> ({e.time})</>)}
        {row("Action", `${called(e.action)}: ${e.action}`)}
        {row("Outcome", <Outcome of={e.outcome} />)}
        {row("Who", `${e.actor.name} (${e.actor.type} ${e.actor.id})`)}
        {row("IP address", e.ip)}
        {row("Program", e.user_agent)}
        {row("Certificate", link("certificates", e.certificate_id))}
        {row("Request", link("requests", e.request_id))}
        {row("Format", e.format)}
        {Object.entries(e.detail).map(([name, value]) => row(name, value))}
        {row("Hash", <Copied text={e.hash} what="hash" />)}
        {row("Hash before it", e.prev_hash && <Copied text={e.prev_hash} what="hash before it" />)}
      </Table.Tbody>
    </Table>
  );
}
