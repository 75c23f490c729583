// A thing's facts, each with its name.
import { Paper, Table } from "@mantine/core";
import type { ReactNode } from "react";

export function Facts({ of }: { of: [name: string, value: ReactNode][] }) {
  return (
    <Paper withBorder p="md" mb="md">
      <Table variant="vertical" layout="fixed">
        <Table.Tbody>
          {of.map(([name, value]) => (
            <Table.Tr key={name}>
              <Table.Th scope="row" w={{ base: 100, sm: 180 }}>
                {name}
              </Table.Th>
              <Table.Td style={{ overflowWrap: "anywhere" }}>{value}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Paper>
  );
}
