// The certificates of the project, with a search.
import { Anchor, Table, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { useEffect, useRef } from "react";
import { Link, useSearchParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { DataTable } from "../components/data-table";
import { Empty, Heading } from "../components/page-states";
import { PagedList } from "../components/paged-list";
import { Expiry, Time } from "../components/time";
import { usePages } from "../hooks/paging";
import { useProject } from "../hooks/project";

export default function Certificates() {
  const { id: pid } = useProject();
  const [search, setSearch] = useSearchParams();
  const text = search.get("q") ?? "";
  const [query] = useDebouncedValue(text, 200);
  const certificates = usePages<Schemas["Certificate"]>(["certificates", pid, query], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/certificates", { params: { path: { pid }, query: { q: query, limit: 50, cursor } } })),
  );
  // The router changes the address with a delay. The field follows the address only while it is not focused, so that no typed letter is lost.
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (field.current && field.current !== document.activeElement) field.current.value = text;
  }, [text]);
  const empty = (
    <Empty title={query ? `No certificate matches “${query}”` : "No certificates yet"}>
      {query ? "Enter fewer words: each word must match." : "An administrator imports them with countersign cert import."}
    </Empty>
  );
  return (
    <>
      <Heading>Certificates</Heading>
      <TextInput
        type="search"
        aria-label="Search certificates"
        placeholder="Search name, host, issuer or serial"
        leftSection={<IconSearch size={16} />}
        ref={field}
        defaultValue={text}
        onChange={(event) => setSearch(event.currentTarget.value ? { q: event.currentTarget.value } : {}, { replace: true })}
        mb="md"
        maw={520}
      />
      <PagedList query={certificates} empty={empty}>
        {(all) => <CertificateTable certificates={all} />}
      </PagedList>
    </>
  );
}

function CertificateTable({ certificates }: { certificates: Schemas["Certificate"][] }) {
  return (
    <DataTable minWidth={560} columns={["Name", "Alternative names", "Key", "Expires"]}>
      {certificates.map((c) => (
        <Table.Tr key={c.id}>
          <Table.Td>
            <Anchor component={Link} to={c.id} fw={500}>
              {c.name}
            </Anchor>
            <Text size="xs" lineClamp={1}>
              {c.issuer}
            </Text>
          </Table.Td>
          <Table.Td maw={260}>
            <Text size="sm" truncate>
              {c.sans?.join(", ")}
              {(c.san_count ?? 0) > (c.sans?.length ?? 0) && `, … (${c.san_count} names)`}
            </Text>
          </Table.Td>
          <Table.Td>
            {c.key_algorithm}
            {!c.has_private_key && (
              <Text size="xs" c="dimmed">
                No key
              </Text>
            )}
          </Table.Td>
          <Table.Td>
            <Expiry at={c.not_after} /> <Time at={c.not_after} day />
          </Table.Td>
        </Table.Tr>
      ))}
    </DataTable>
  );
}
