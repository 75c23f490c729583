// The properties of one thing, each with its name.
import { Paper, Table } from "@mantine/core";
import type { ReactNode } from "react";

export type Fact = [name: string, value: ReactNode];

export function FactTable({ facts }: { facts: Fact[] }) {
  return (
    <Table variant="vertical" layout="fixed">
      <Table.Tbody>
        {facts.map(([name, value]) => (
          <Table.Tr key={name}>
            <Table.Th scope="row" w={{ base: 100, sm: 180 }}>
              {name}
            </Table.Th>
            <Table.Td style={{ overflowWrap: "anywhere" }}>{value}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

export function Facts({ facts }: { facts: Fact[] }) {
  return (
    <Paper withBorder p="md" mb="md">
      <FactTable facts={facts} />
    </Paper>
  );
}
