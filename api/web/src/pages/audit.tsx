// The audit log: filtered, exported, verified.
import { Button, Group, SegmentedControl } from "@mantine/core";
import { IconFileExport } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { useSearchParams } from "react-router";
import { answer, api } from "../api/client";
import { EntryDetail, EntryTable } from "./audit/entries";
import { type Filter, filterOf, Filters } from "./audit/filters";
import { readAudit } from "./audit/read";
import { Verify } from "./audit/verify";
import { Paged, usePages } from "../components/paged-list";
import { Empty, Heading } from "../components/page-states";
import { useProject } from "../hooks/project";
import { useMe } from "../components/session";

/** The chain of what belongs to no project, such as users and plugins. */
const system = "system";

export default function Audit() {
  const project = useProject();
  const me = useMe();
  const [search, setSearch] = useSearchParams();
  const filter = filterOf(search);
  const chain = search.get("chain") === system ? system : project.id;
  const show = (of: string, by: Filter) => setSearch({ ...by, ...(of === system ? { chain: system } : {}) });
  const entries = usePages(["audit", chain, filter], (cursor) => readAudit(chain, { ...filter, limit: 50, cursor }));
  const address = (of: number) => `?${new URLSearchParams([...[...search].filter(([name]) => name !== "entry"), ["entry", String(of)]])}`;
  return (
    <>
      <Heading actions={<Exports chain={chain} filter={filter} />}>Audit log</Heading>
      {me.user.system_admin && (
        <SegmentedControl
          mb="md"
          aria-label="Which log"
          value={chain}
          onChange={(of) => show(of, {})}
          data={[
            { value: project.id, label: project.name },
            { value: system, label: "Users and plugins" },
          ]}
        />
      )}
      <Verify key={chain} chain={chain} />
      <Filters filter={filter} apply={(by) => show(chain, by)} />
      <Paged of={entries} empty={<Empty title="No entry matches">Take filters away to see more.</Empty>}>
        {(all) => <EntryTable all={all} address={address} />}
      </Paged>
      <EntryDetail key={chain} chain={chain} seq={Number(search.get("entry"))} opened={search.has("entry")} close={() => show(chain, filter)} />
    </>
  );
}

/** Saves all that match, not only what is shown. A session that ended is said first: a link would fail without a word. */
function Exports({ chain, filter }: { chain: string; filter: Filter }) {
  const save = useMutation({
    mutationFn: async (format: string) => {
      await answer(api.GET("/api/v1/me"));
      window.location.assign(`/api/v1/projects/${encodeURIComponent(chain)}/audit-logs?${new URLSearchParams({ ...filter, format })}`);
    },
  });
  return (
    <Group gap="xs">
      {["ndjson", "csv"].map((format) => (
        <Button key={format} variant="default" leftSection={<IconFileExport size={18} />} onClick={() => save.mutate(format)}>
          Export {format.toUpperCase()}
        </Button>
      ))}
    </Group>
  );
}
