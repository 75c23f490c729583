// The API keys of the project. A key's secret is shown when it is made, never again.
import { Alert, Badge, Select, Table, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { now } from "../hooks/clock";
import { mayDo, roles, useMembers } from "../hooks/members";
import { Copied } from "../components/copyable";
import { Dialog, text } from "../components/action-dialog";
import { Paged, usePages } from "../components/paged-list";
import { Empty, Heading } from "../components/page-states";
import { fromNow, Time } from "../components/time";
import { useProject } from "../hooks/project";

type Key = Schemas["APIKey"];

const day = 86_400_000;

export default function APIKeys() {
  const { id: pid } = useProject();
  const keys = usePages(["api-keys", pid, "pages"], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/api-keys", { params: { path: { pid }, query: { limit: 50, cursor } } })),
  );
  return (
    <>
      <Heading actions={<Make />}>API keys</Heading>
      <Text mb="md">A key acts for the person who made it, with its own role at most, and stops when they leave the project.</Text>
      <Paged of={keys} empty={<Empty title="There are no API keys yet">Make one for a script or a server that downloads certificates.</Empty>}>
        {(all) => <KeyTable all={all} />}
      </Paged>
    </>
  );
}

function KeyTable({ all }: { all: Key[] }) {
  const members = useMembers().data ?? [];
  const owner = (id: string) => members.find((m) => m.user_id === id)?.username ?? id;
  return (
    <Table.ScrollContainer minWidth={700}>
      <Table verticalSpacing="xs">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th>
            <Table.Th>Role</Table.Th>
            <Table.Th>Acts for</Table.Th>
            <Table.Th>Made</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th>Actions</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {all.map((k) => (
            <Table.Tr key={k.id}>
              <Table.Td>
                {k.name}
                <Text size="xs">{k.id}</Text>
              </Table.Td>
              <Table.Td>{k.role}</Table.Td>
              <Table.Td>{owner(k.owner_id)}</Table.Td>
              <Table.Td>
                <Time at={k.created_at} day />
              </Table.Td>
              <Table.Td>
                <State of={k} />
              </Table.Td>
              <Table.Td>{usable(k) && <Revoke of={k} />}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

const usable = (k: Key) => !k.revoked_at && (!k.expires_at || Date.parse(k.expires_at) > now());

function State({ of: k }: { of: Key }) {
  const [color, words] = k.revoked_at ? ["red", "revoked"] : !usable(k) ? ["gray", "expired"] : ["green", k.expires_at ? `works, expires ${fromNow(k.expires_at)}` : "works, never expires"];
  return (
    <Badge color={color} variant="light" tt="none" autoContrast>
      {words}
    </Badge>
  );
}

function Make() {
  const project = useProject();
  const queries = useQueryClient();
  const mine = roles.slice(0, roles.indexOf(project.role as (typeof roles)[number]) + 1);
  const make = (form: FormData) => {
    const days = Number(text(form, "days"));
    const body = { name: text(form, "name"), role: text(form, "role"), ...(days ? { expires_at: new Date(now() + days * day).toISOString() } : {}) };
    return answer(api.POST("/api/v1/projects/{pid}/api-keys", { params: { path: { pid: project.id } }, body }));
  };
  return (
    <Dialog label="Make an API key" title="Make an API key" action="Make it" run={make} done={() => void queries.invalidateQueries({ queryKey: ["api-keys"] })} result={(made) => <Secret of={made} />}>
      <TextInput label="Name" name="name" description="What will use it, such as deploy-web-1." required maxLength={200} data-autofocus />
      <Select label="Role" name="role" description="The least that it needs." allowDeselect={false} defaultValue="operator" data={mine.map((value) => ({ value, label: mayDo[value]! }))} />
      <Select
        label="Expires"
        name="days"
        allowDeselect={false}
        defaultValue="90"
        data={[
          { value: "7", label: "In 7 days" },
          { value: "30", label: "In 30 days" },
          { value: "90", label: "In 90 days" },
          { value: "365", label: "In a year" },
          { value: "0", label: "Never" },
        ]}
      />
    </Dialog>
  );
}

function Secret({ of }: { of: Schemas["NewAPIKey"] }) {
  return (
    <>
      <Alert color="green" variant="light" title={`The key ${of.name} is made`} role="status">
        This is its secret. Copy it now: it is shown here and never again.
      </Alert>
      <Copied text={of.secret} what="the secret" />
      <Text size="sm">Programs send it as the header “Authorization: Bearer” followed by the secret; the command line takes it as COUNTERSIGN_API_KEY.</Text>
    </>
  );
}

function Revoke({ of: k }: { of: Key }) {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  return (
    <Dialog
      small
      danger
      label="Revoke"
      name={`Revoke ${k.name}`}
      title={`Revoke the key ${k.name}?`}
      action="Revoke"
      run={() => answer(api.DELETE("/api/v1/projects/{pid}/api-keys/{kid}", { params: { path: { pid, kid: k.id } } }))}
      done={() => {
        void queries.invalidateQueries({ queryKey: ["api-keys"] });
        notifications.show({ message: `The key ${k.name} is revoked.` });
      }}
    >
      <Text size="sm">Whatever uses it is refused from now on. This cannot be undone.</Text>
    </Dialog>
  );
}
