// The API keys of the project, or of the whole system. The secret of a key is shown only when it is created.
import { Alert, Badge, Select, Table, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { ActionDialog, fieldText } from "../components/action-dialog";
import { Copyable } from "../components/copyable";
import { DataTable } from "../components/data-table";
import { Empty, Heading } from "../components/page-states";
import { PagedList } from "../components/paged-list";
import { fromNow, Time } from "../components/time";
import { now } from "../hooks/clock";
import { roleChoices, useMembers } from "../hooks/members";
import { usePages } from "../hooks/paging";
import { type Role, useProject } from "../hooks/project";

type Key = Schemas["APIKey"];

/** The id that stands for the whole system in place of a project. */
const wholeSystem = "system";

export default function APIKeys({ system = false }: { system?: boolean }) {
  const project = useProject();
  const pid = system ? wholeSystem : project.id;
  const keys = usePages(["api-keys", pid, "pages"], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/api-keys", { params: { path: { pid }, query: { limit: 50, cursor } } })),
  );
  return (
    <>
      <Heading actions={<CreateKey pid={pid} />}>{system ? "System API keys" : "API keys"}</Heading>
      <Text mb="md">
        {system
          ? "A system API key acts for the system administrator who created it, in every project and on users and plugins. It stops working when they stop being one."
          : "An API key acts in this project for the user who created it, with at most the key’s role. It stops working when the user leaves the project."}
      </Text>
      <PagedList query={keys} empty={<Empty title="No API keys yet">Create one for a script or a server that downloads certificates.</Empty>}>
        {(all) => <KeyTable keys={all} pid={pid} />}
      </PagedList>
    </>
  );
}

function KeyTable({ keys, pid }: { keys: Key[]; pid: string }) {
  const members = useMembers().data ?? [];
  const owner = (id: string) => members.find((m) => m.user_id === id)?.username ?? id;
  return (
    <DataTable minWidth={700} columns={["Name", "Role", "Acts for", "Created", "State", "Actions"]}>
      {keys.map((k) => (
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
            <KeyState apiKey={k} />
          </Table.Td>
          <Table.Td>{isActive(k) && <RevokeKey apiKey={k} pid={pid} />}</Table.Td>
        </Table.Tr>
      ))}
    </DataTable>
  );
}

const isActive = (k: Key) => !k.revoked_at && (!k.expires_at || Date.parse(k.expires_at) > now());

function KeyState({ apiKey: k }: { apiKey: Key }) {
  const [color, label] = k.revoked_at ? ["red", "Revoked"] : !isActive(k) ? ["gray", "Expired"] : ["green", k.expires_at ? `Active, expires ${fromNow(k.expires_at)}` : "Active, no expiry"];
  return (
    <Badge color={color} variant="light" tt="none" autoContrast>
      {label}
    </Badge>
  );
}

function CreateKey({ pid }: { pid: string }) {
  const project = useProject();
  const queries = useQueryClient();
  const create = (form: FormData) => {
    const days = Number(fieldText(form, "days"));
    const body = { name: fieldText(form, "name"), role: pid === wholeSystem ? "admin" : fieldText(form, "role"), ...(days ? { expires_at: new Date(now() + days * 86_400_000).toISOString() } : {}) };
    return answer(api.POST("/api/v1/projects/{pid}/api-keys", { params: { path: { pid } }, body }));
  };
  return (
    <ActionDialog label="Create API key" title="Create API key" action="Create" run={create} done={() => void queries.invalidateQueries({ queryKey: ["api-keys"] })} result={(created) => <Secret apiKey={created} />}>
      <TextInput label="Name" name="name" description="What uses the key, such as deploy-web-1." required maxLength={200} data-autofocus />
      {pid !== wholeSystem && <Select label="Role" name="role" description="Choose the lowest role that is enough." allowDeselect={false} defaultValue="operator" data={roleChoices(project.role as Role)} />}
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
    </ActionDialog>
  );
}

function Secret({ apiKey }: { apiKey: Schemas["NewAPIKey"] }) {
  return (
    <>
      <Alert color="green" variant="light" title={`The API key ${apiKey.name} was created`} role="status">
        Copy its secret now: it is not shown again.
      </Alert>
      <Copyable text={apiKey.secret} what="the secret" />
      <Text size="sm">Programs send it in the header “Authorization: Bearer” followed by the secret; the command line reads it from COUNTERSIGN_API_KEY.</Text>
    </>
  );
}

function RevokeKey({ apiKey: k, pid }: { apiKey: Key; pid: string }) {
  const queries = useQueryClient();
  return (
    <ActionDialog
      small
      danger
      label="Revoke"
      name={`Revoke ${k.name}`}
      title={`Revoke the API key ${k.name}?`}
      action="Revoke"
      run={() => answer(api.DELETE("/api/v1/projects/{pid}/api-keys/{kid}", { params: { path: { pid, kid: k.id } } }))}
      done={() => {
        void queries.invalidateQueries({ queryKey: ["api-keys"] });
        notifications.show({ message: `The API key ${k.name} was revoked.` });
      }}
    >
      <Text size="sm">Programs that use it are refused from now on. This cannot be undone.</Text>
    </ActionDialog>
  );
}
