// The format plugins of this installation, and their state.
import { Badge, Code, Group, List, Paper, Stack, Text, Title } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { ActionDialog } from "../components/action-dialog";
import { type Fact, FactTable } from "../components/facts";
import { Empty, Heading } from "../components/page-states";
import { PagedList } from "../components/paged-list";
import { pluginMillis } from "../hooks/formats";
import { usePages } from "../hooks/paging";

type Plugin = Schemas["Plugin"];

const colors: Record<string, string> = { running: "green", starting: "blue", restarting: "orange" };

export default function Plugins() {
  const plugins = usePages(["plugins"], (cursor) => answer(api.GET("/api/v1/plugins", { params: { query: { limit: 50, cursor } } })), pluginMillis);
  return (
    <>
      <Heading>Plugins</Heading>
      <Text mb="md">Each plugin renders its formats in a separate, confined process. When a plugin fails, only its own formats become unavailable.</Text>
      <PagedList query={plugins} empty={<Empty title="No plugins">The catalogue of this installation lists no plugin.</Empty>}>
        {(all) => (
          <Stack>
            {all.map((p) => (
              <PluginCard key={p.name} plugin={p} />
            ))}
          </Stack>
        )}
      </PagedList>
    </>
  );
}

function PluginCard({ plugin: p }: { plugin: Plugin }) {
  const detail: Fact[] = p.detail ? [["Detail", p.detail]] : [];
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
        <ReloadPlugin name={p.name} />
      </Group>
      <FactTable
        facts={[
          ...detail,
          ["Version", p.version || "unknown: it has not run yet"],
          ["Formats", p.formats?.join(", ") || "none"],
          ["SHA-256", <Code>{p.sha256}</Code>],
          ["Sandbox", <Sandbox sandbox={p.sandbox} />],
        ]}
      />
    </Paper>
  );
}

function Sandbox({ sandbox }: { sandbox: Plugin["sandbox"] }) {
  return (
    <List size="sm">
      {sandbox.enforced?.map((limit) => (
        <List.Item key={limit}>Enforced: {limit}</List.Item>
      ))}
      {sandbox.missing?.map((limit) => (
        <List.Item key={limit}>
          <strong>Missing:</strong> {limit}
        </List.Item>
      ))}
    </List>
  );
}

function ReloadPlugin({ name }: { name: string }) {
  const queries = useQueryClient();
  const refresh = () => void Promise.all([queries.invalidateQueries({ queryKey: ["plugins"] }), queries.invalidateQueries({ queryKey: ["formats"] })]);
  return (
    <ActionDialog
      small
      label="Reload"
      name={`Reload ${name}`}
      title={`Reload the plugin ${name}?`}
      action="Reload"
      run={() => answer(api.POST("/api/v1/plugins/{name}/reload", { params: { path: { name } } })).finally(refresh)}
      done={(plugin) => notifications.show({ message: `The plugin ${name} is ${plugin.state}${plugin.version ? ` at version ${plugin.version}` : ""}.` })}
    >
      <Text size="sm">A new process starts as the catalogue now describes it. The old process finishes the files that it is rendering; if the new one does not start, the old one continues.</Text>
    </ActionDialog>
  );
}
