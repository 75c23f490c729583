// The filters of the audit log. The address holds them, so that a filtered view can
// be shared.
import { Button, Group, Paper, Select, SimpleGrid, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { answer, api } from "../../api/client";
import { clearable } from "../../components/theme";
import { useMembers, userName } from "../../hooks/members";
import { useProject } from "../../hooks/project";
import { actionChoices } from "./actions";

const names = ["action", "actor", "certificate_id", "request_id", "from", "to"] as const;
export type Filter = Partial<Record<(typeof names)[number], string>>;

/** Reads the filter from an address. */
export function filterOf(search: URLSearchParams): Filter {
  return Object.fromEntries(names.flatMap((name) => (search.get(name) ? [[name, search.get(name)!]] : [])));
}

/** Converts a time of the API for a datetime-local input, which is in the reader's time zone. */
function toLocal(time = ""): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "" : new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
const fromLocal = (input: string) => (input ? new Date(input).toISOString() : "");

export function Filters({ filter, apply }: { filter: Filter; apply: (filter: Filter) => void }) {
  const values = { action: "", actor: "", certificate_id: "", request_id: "", ...filter, from: toLocal(filter.from), to: toLocal(filter.to) };
  const form = useForm({ initialValues: values });
  useEffect(() => form.setValues(values), [JSON.stringify(filter)]); // the address also changes by the browser's Back button
  const submit = form.onSubmit((input) => apply(filterOf(new URLSearchParams({ ...input, from: fromLocal(input.from), to: fromLocal(input.to) }))));
  return (
    <Paper withBorder p="md" mb="md" component="form" role="search" aria-label="Audit log" onSubmit={submit}>
      <SimpleGrid cols={{ base: 1, xs: 2, lg: 3 }} spacing="sm">
        <FilterSelect label="Event" data={actionChoices} {...form.getInputProps("action")} />
        <ActorSelect {...form.getInputProps("actor")} />
        <CertificateSelect {...form.getInputProps("certificate_id")} />
        <TextInput label="Request ID" placeholder="req_…" {...form.getInputProps("request_id")} />
        <TextInput type="datetime-local" label="From" {...form.getInputProps("from")} />
        <TextInput type="datetime-local" label="Until" {...form.getInputProps("to")} />
      </SimpleGrid>
      <Group mt="md">
        <Button type="submit">Apply</Button>
        <Button variant="default" disabled={Object.keys(filter).length === 0} onClick={() => apply({})}>
          Clear
        </Button>
      </Group>
    </Paper>
  );
}

interface SelectProps {
  label: string;
  value?: string;
  onChange?: (value: string) => void;
  data: { value: string; label: string }[];
  onSearchChange?: (text: string) => void;
}

/** A choice that may be empty. A value that is not among the choices is added to them, because it may come from the address. */
function FilterSelect({ label, value, onChange, data, onSearchChange }: SelectProps) {
  const choices = value && !data.some((d) => d.value === value) ? [...data, { value, label: value }] : data;
  return <Select label={label} placeholder="Any" searchable {...clearable(label)} data={choices} value={value || null} onChange={(next) => onChange?.(next ?? "")} onSearchChange={onSearchChange} />;
}

type FieldProps = Pick<SelectProps, "value" | "onChange">;

/** Chooses among the members and the API keys of the project. */
function ActorSelect(props: FieldProps) {
  const { id: pid } = useProject();
  const members = useMembers().data ?? [];
  const keys = useQuery({
    queryKey: ["api-keys", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/api-keys", { params: { path: { pid }, query: { limit: 200 } } })),
  });
  const data = [
    ...members.map((m) => ({ value: m.user_id, label: `${userName(m)} (${m.username})` })),
    ...(keys.data?.items ?? []).map((k) => ({ value: k.id, label: `API key ${k.name} (${k.id})` })),
  ];
  return <FilterSelect label="Person" data={data} {...props} />;
}

function CertificateSelect(props: FieldProps) {
  const { id: pid } = useProject();
  const [text, setText] = useState("");
  const [q] = useDebouncedValue(text, 200);
  const certificates = useQuery({
    queryKey: ["certificates", pid, "named", q],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/certificates", { params: { path: { pid }, query: { q, limit: 50 } } })),
    placeholderData: keepPreviousData,
  });
  return <FilterSelect label="Certificate" data={(certificates.data?.items ?? []).map((c) => ({ value: c.id, label: c.name }))} onSearchChange={setText} {...props} />;
}
