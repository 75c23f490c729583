// Which entries of the audit log are shown: it stands in the address.
import { Button, Group, Paper, Select, SimpleGrid, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { answer, api } from "../../api/client";
import { useMembers } from "../../hooks/members";
import { useProject } from "../../hooks/project";
import { clearable } from "../../components/theme";
import { actions } from "./actions";

const names = ["action", "actor", "certificate_id", "request_id", "from", "to"] as const;
export type Filter = Partial<Record<(typeof names)[number], string>>;

/** What an address asks for. */
export function filterOf(search: URLSearchParams): Filter {
  return Object.fromEntries(names.flatMap((name) => (search.get(name) ? [[name, search.get(name)!]] : [])));
}

/** An instant as the browser's input of times has it, in the reader's zone; and back. */
function local(instant = ""): string {
  const date = new Date(instant);
  return Number.isNaN(date.getTime()) ? "" : new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
const instant = (typed: string) => (typed ? new Date(typed).toISOString() : "");

export function Filters({ filter, apply }: { filter: Filter; apply: (filter: Filter) => void }) {
  const values = { action: "", actor: "", certificate_id: "", request_id: "", ...filter, from: local(filter.from), to: local(filter.to) };
  const form = useForm({ initialValues: values });
  const address = JSON.stringify(filter);
  useEffect(() => form.setValues(values), [address]); // such as by the browser's Back
  const submit = form.onSubmit((asked) => apply(filterOf(new URLSearchParams({ ...asked, from: instant(asked.from), to: instant(asked.to) }))));
  return (
    <Paper withBorder p="md" mb="md" component="form" role="search" aria-label="Audit log" onSubmit={submit}>
      <SimpleGrid cols={{ base: 1, xs: 2, lg: 3 }} spacing="sm">
        <Choose label="Action" data={Object.entries(actions).map(([value, label]) => ({ value, label }))} {...form.getInputProps("action")} />
        <Actor {...form.getInputProps("actor")} />
        <Certificate {...form.getInputProps("certificate_id")} />
        <TextInput label="Request" placeholder="req_…" {...form.getInputProps("request_id")} />
        <TextInput type="datetime-local" label="From" {...form.getInputProps("from")} />
        <TextInput type="datetime-local" label="Until" {...form.getInputProps("to")} />
      </SimpleGrid>
      <Group mt="md">
        <Button type="submit">Show these</Button>
        <Button variant="default" disabled={Object.keys(filter).length === 0} onClick={() => apply({})}>
          Show all
        </Button>
      </Group>
    </Paper>
  );
}

interface ChooseProps {
  label: string;
  value?: string;
  onChange?: (value: string) => void;
  data: { value: string; label: string }[];
  onSearchChange?: (text: string) => void;
}

/** One of several, or any; what the address names and the list does not is itself. */
function Choose({ label, value, onChange, data, onSearchChange }: ChooseProps) {
  const all = value && !data.some((d) => d.value === value) ? [...data, { value, label: value }] : data;
  return <Select label={label} placeholder="Any" searchable {...clearable(label)} data={all} value={value || null} onChange={(next) => onChange?.(next ?? "")} onSearchChange={onSearchChange} />;
}

type FieldProps = Pick<ChooseProps, "value" | "onChange">;

/** People and API keys. */
function Actor(props: FieldProps) {
  const { id: pid } = useProject();
  const members = useMembers().data ?? [];
  const keys = useQuery({
    queryKey: ["api-keys", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/api-keys", { params: { path: { pid }, query: { limit: 200 } } })),
  });
  const data = [
    ...members.map((m) => ({ value: m.user_id, label: `${m.name || m.username} (${m.username})` })),
    ...(keys.data?.items ?? []).map((k) => ({ value: k.id, label: `API key ${k.name} (${k.id})` })),
  ];
  return <Choose label="Who" data={data} {...props} />;
}

function Certificate(props: FieldProps) {
  const { id: pid } = useProject();
  const [typed, type] = useState("");
  const [q] = useDebouncedValue(typed, 200);
  const found = useQuery({
    queryKey: ["certificates", pid, "named", q],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/certificates", { params: { path: { pid }, query: { q, limit: 50 } } })),
    placeholderData: keepPreviousData,
  });
  return <Choose label="Certificate" data={(found.data?.items ?? []).map((c) => ({ value: c.id, label: c.name }))} onSearchChange={type} {...props} />;
}
