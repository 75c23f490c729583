// The format plugins of this installation, and how they are.
import { Badge, Code, Group, List, Paper, Stack, Table, Text, Title } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { answer, api, type Schemas } from "../api/client";
import { pluginMillis } from "../hooks/formats";
import { Dialog } from "../components/action-dialog";
import { Paged, usePages } from "../components/paged-list";
import { Empty, Heading } from "../components/page-states";

type Plugin = Schemas["Plugin"];

const colors: Record<string, string> = { running: "green", starting: "blue", restarting: "orange" };

export default function Plugins() {
  const plugins = usePages(["plugins"], (cursor) => answer(api.GET("/api/v1/plugins", { params: { query: { limit: 50, cursor } } })), pluginMillis);
  return (
    <>
      <Heading>Plugins</Heading>
      <Text mb="md">Each renders its formats in a process of its own, shut off from the system. A plugin that fails takes only its formats with it.</Text>
      <Paged of={plugins} empty={<Empty title="There are no plugins">The catalogue of the installation lists none.</Empty>}>
        {(all) => (
          <Stack>
            {all.map((p) => (
              <One key={p.name} plugin={p} />
            ))}
          </Stack>
        )}
      </Paged>
    </>
  );
}

function One({ plugin: p }: { plugin: Plugin }) {
  const row = (name: string, value: ReactNode) => (
    <Table.Tr key={name}>
      <Table.Th scope="row" w={110}>
        {name}
      </Table.Th>
      <Table.Td style={{ overflowWrap: "anywhere" }}>{value}</Table.Td>
    </Table.Tr>
  );
  return (
    <Paper withBorder p="md" component="section" aria-labelledby={`plugin-${p.name}`}>
      <Group justify="space-between" mb="xs">
        <Group gap="xs">
          <Title order={2} size="h4" id={`plugin-${p.name}`}>
            {p.name}
          </Title>
          <Badge color={colors[p.state] ?? "red"} variant="light" tt="none" autoContrast>
            {p.state}
          </Badge>
        </Group>
        <Reload name={p.name} />
      </Group>
      <Table variant="vertical" layout="fixed">
        <Table.Tbody>
          {p.detail && row("Detail", p.detail)}
          {row("Version", p.version || "not known: it never ran")}
          {row("Formats", p.formats?.join(", ") || "none")}
          {row("SHA-256", <Code>{p.sha256}</Code>)}
          {row("Sandbox", <Sandbox of={p.sandbox} />)}
        </Table.Tbody>
      </Table>
    </Paper>
  );
}

function Sandbox({ of }: { of: Plugin["sandbox"] }) {
  return (
    <List size="sm">
      {of.enforced?.map((what) => (
        <List.Item key={what}>Enforced: {what}</List.Item>
      ))}
      {of.missing?.map((what) => (
        <List.Item key={what}>
          <strong>Missing:</strong> {what}
        </List.Item>
      ))}
    </List>
  );
}

function Reload({ name }: { name: string }) {
  const queries = useQueryClient();
  const again = () => void Promise.all([queries.invalidateQueries({ queryKey: ["plugins"] }), queries.invalidateQueries({ queryKey: ["formats"] })]);
  return (
    <Dialog
      small
      label="Reload"
      name={`Reload ${name}`}
      title={`Reload the plugin ${name}?`}
      action="Reload"
      run={() => answer(api.POST("/api/v1/plugins/{name}/reload", { params: { path: { name } } })).finally(again)}
      done={(now) => notifications.show({ message: `The plugin ${name} is ${now.state}${now.version ? ` at version ${now.version}` : ""}.` })}
    >
      <Text size="sm">It starts anew as the catalogue lists it now. Files under way are finished by the old process; if the new one does not start, the old one goes on.</Text>
    </Dialog>
  );
}
