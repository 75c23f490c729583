// The audit log: filter it, export it, verify it.
import { Button, Group, SegmentedControl } from "@mantine/core";
import { IconFileExport } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { useSearchParams } from "react-router";
import { answer, api } from "../api/client";
import { Empty, Heading } from "../components/page-states";
import { PagedList } from "../components/paged-list";
import { usePages } from "../hooks/paging";
import { useProject } from "../hooks/project";
import { useMe } from "../hooks/session";
import { EntryDrawer, EntryTable } from "./audit/entries";
import { type Filter, filterOf, Filters } from "./audit/filters";
import { readEntries } from "./audit/read";
import { Verify } from "./audit/verify";

/** The chain of what belongs to no project, such as users and plugins. */
const systemChain = "system";

export default function Audit() {
  const project = useProject();
  const me = useMe();
  const [search, setSearch] = useSearchParams();
  const filter = filterOf(search);
  const chain = search.get("chain") === systemChain ? systemChain : project.id;
  const show = (chain: string, filter: Filter) => setSearch({ ...filter, ...(chain === systemChain ? { chain } : {}) });
  const entries = usePages(["audit", chain, filter], (cursor) => readEntries(chain, { ...filter, limit: 50, cursor }));
  const address = (seq: number) => `?${new URLSearchParams([...[...search].filter(([name]) => name !== "entry"), ["entry", String(seq)]])}`;
  return (
    <>
      <Heading actions={<ExportButtons chain={chain} filter={filter} />}>Audit log</Heading>
      {me.user.system_admin && (
        <SegmentedControl
          mb="md"
          aria-label="Log"
          value={chain}
          onChange={(of) => show(of, {})}
          data={[
            { value: project.id, label: project.name },
            { value: systemChain, label: "Users and plugins" },
          ]}
        />
      )}
      <Verify key={chain} chain={chain} />
      <Filters filter={filter} apply={(by) => show(chain, by)} />
      <PagedList query={entries} empty={<Empty title="No entry matches">Change or clear the filters.</Empty>}>
        {(all) => <EntryTable entries={all} address={address} />}
      </PagedList>
      <EntryDrawer key={chain} chain={chain} seq={Number(search.get("entry"))} opened={search.has("entry")} close={() => show(chain, filter)} />
    </>
  );
}

/** Exports all entries that match, not only those on the page. The session is checked first, because a browser's download fails without a message. */
function ExportButtons({ chain, filter }: { chain: string; filter: Filter }) {
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
