// The project's certificates: searched and paged by the server.
import { Anchor, Badge, Table, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { useEffect, useRef } from "react";
import { Link, useSearchParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { now } from "../hooks/clock";
import { Paged, usePages } from "../components/paged-list";
import { Empty, Heading } from "../components/page-states";
import { fromNow, Time } from "../components/time";
import { useProject } from "../hooks/project";

const day = 86_400_000;

/** How soon a certificate expires, at a glance. */
export function Expiry({ at }: { at: string }) {
  const days = (Date.parse(at) - now()) / day;
  const color = days < 0 ? "red" : days < 30 ? "orange" : "green";
  return (
    <Badge color={color} variant="light" autoContrast tt="none">
      {days < 0 ? `expired ${fromNow(at)}` : fromNow(at)}
    </Badge>
  );
}

export default function Certificates() {
  const { id: pid } = useProject();
  const [search, setSearch] = useSearchParams();
  const text = search.get("q") ?? "";
  const [query] = useDebouncedValue(text, 200);
  const found = usePages<Schemas["Certificate"]>(["certificates", pid, query], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/certificates", { params: { path: { pid }, query: { q: query, limit: 50, cursor } } })),
  );
  // The router takes its time over the address, and who types does not wait: the field follows it only when left.
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (field.current && field.current !== document.activeElement) field.current.value = text;
  }, [text]);
  const empty = (
    <Empty title={query ? "No certificate matches" : "There are no certificates yet"}>
      {query ? "Try fewer words: each must occur." : "An administrator imports them: countersign cert import."}
    </Empty>
  );
  return (
    <>
      <Heading>Certificates</Heading>
      <TextInput
        type="search"
        aria-label="Search certificates"
        placeholder="Search by name, subject, host name, issuer or serial"
        leftSection={<IconSearch size={16} />}
        ref={field}
        defaultValue={text}
        onChange={(event) => setSearch(event.currentTarget.value ? { q: event.currentTarget.value } : {}, { replace: true })}
        mb="md"
        maw={520}
      />
      <Paged of={found} empty={empty}>
        {(all) => <CertificateTable all={all} />}
      </Paged>
    </>
  );
}

function CertificateTable({ all }: { all: Schemas["Certificate"][] }) {
  return (
    <Table.ScrollContainer minWidth={560}>
      <Table highlightOnHover verticalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th>
            <Table.Th>Host names</Table.Th>
            <Table.Th>Key</Table.Th>
            <Table.Th>Expires</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {all.map((c) => (
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
                </Text>
              </Table.Td>
              <Table.Td>
                {c.key_algorithm}
                {!c.has_private_key && (
                  <Text size="xs" span>
                    , no private key
                  </Text>
                )}
              </Table.Td>
              <Table.Td>
                <Expiry at={c.not_after} /> <Time at={c.not_after} day />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
