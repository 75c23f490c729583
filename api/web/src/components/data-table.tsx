// A table of many rows, which scrolls sideways where it does not fit.
import { Table } from "@mantine/core";
import type { ReactNode } from "react";

interface Props {
  /** The width below which the table scrolls, in pixels. */
  minWidth: number;
  /** The headings; an empty one is left out. */
  columns: (string | false)[];
  children: ReactNode;
}

export function DataTable({ minWidth, columns, children }: Props) {
  return (
    <Table.ScrollContainer minWidth={minWidth}>
      <Table highlightOnHover verticalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            {columns.map((name) => name && <Table.Th key={name}>{name}</Table.Th>)}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>{children}</Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
