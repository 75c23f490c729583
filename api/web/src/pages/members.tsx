// Who is in the project, and as what.
import { Select, Table, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { mayDo, roles } from "../hooks/members";
import { Dialog, text } from "../components/action-dialog";
import { Paged, readAll, usePages } from "../components/paged-list";
import { Empty, Heading } from "../components/page-states";
import { Time } from "../components/time";
import { useMay, useProject } from "../hooks/project";
import { useMe } from "../components/session";

type Member = Schemas["Member"];

export default function Members() {
  const { id: pid } = useProject();
  const admin = useMay("admin");
  const members = usePages(["members", pid, "pages"], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/members", { params: { path: { pid }, query: { limit: 50, cursor } } })),
  );
  return (
    <>
      <Heading actions={admin && <Add />}>Members</Heading>
      <Paged of={members} empty={<Empty title="There are no members">System administrators reach the project all the same.</Empty>}>
        {(all) => <MemberTable all={all} admin={admin} />}
      </Paged>
    </>
  );
}

function MemberTable({ all, admin }: { all: Member[]; admin: boolean }) {
  return (
    <Table.ScrollContainer minWidth={560}>
      <Table verticalSpacing="xs">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th>
            <Table.Th>Role</Table.Th>
            <Table.Th>Since</Table.Th>
            {admin && <Table.Th>Actions</Table.Th>}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {all.map((m) => (
            <Table.Tr key={m.user_id}>
              <Table.Td>
                {m.name || m.username}
                <Text size="xs">{m.username}</Text>
              </Table.Td>
              <Table.Td>{m.role}</Table.Td>
              <Table.Td>
                <Time at={m.created_at} day />
              </Table.Td>
              {admin && (
                <Table.Td style={{ whiteSpace: "nowrap" }}>
                  <Change of={m} /> <Remove of={m} />
                </Table.Td>
              )}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

/** Gives a role, and has every page know. */
function useGive() {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  return {
    give: (uid: string, role: string) => answer(api.PUT("/api/v1/projects/{pid}/members/{uid}", { params: { path: { pid, uid } }, body: { role } })),
    remove: (uid: string) => answer(api.DELETE("/api/v1/projects/{pid}/members/{uid}", { params: { path: { pid, uid } } })),
    changed: (message: string) => {
      for (const key of ["members", "api-keys", "project"]) void queries.invalidateQueries({ queryKey: [key] });
      notifications.show({ message });
    },
  };
}

function Role({ now }: { now: string }) {
  return <Select label="Role" name="role" allowDeselect={false} defaultValue={now} data={roles.map((value) => ({ value, label: mayDo[value]! }))} />;
}

function Add() {
  const { give, changed } = useGive();
  const me = useMe();
  return (
    <Dialog
      label="Add a member"
      title="Add a member"
      action="Add"
      run={(form) => give(text(form, "user"), text(form, "role"))}
      done={(m) => changed(`${m.name || m.username} is now a member: ${m.role}.`)}
    >
      {me.user.system_admin ? <User /> : <TextInput label="User id" name="user" description="System administrators see it in the list of users." required data-autofocus />}
      <Role now="viewer" />
    </Dialog>
  );
}

/** System administrators know everybody by name. */
function User() {
  const users = useQuery({ queryKey: ["users"], queryFn: () => readAll((cursor) => answer(api.GET("/api/v1/users", { params: { query: { limit: 200, cursor } } }))) });
  const data = (users.data ?? []).filter((u) => !u.disabled).map((u) => ({ value: u.id, label: `${u.name || u.username} (${u.username})` }));
  return <Select label="User" name="user" searchable required data={data} nothingFoundMessage="No user is called so: make them first, on the page of users." />;
}

const ownRole = "This is your own membership: you may lose access to this page.";

function Change({ of: m }: { of: Member }) {
  const { give, changed } = useGive();
  const me = useMe();
  const called = m.name || m.username;
  return (
    <Dialog
      small
      label="Change role"
      name={`Change role of ${called}`}
      title={`Change the role of ${called}`}
      action="Change"
      run={(form) => give(m.user_id, text(form, "role"))}
      done={(now) => changed(`${called} is now ${now.role}.`)}
    >
      <Role now={m.role} />
      {m.user_id === me.user.id && <Text size="sm">{ownRole}</Text>}
    </Dialog>
  );
}

function Remove({ of: m }: { of: Member }) {
  const { remove, changed } = useGive();
  const me = useMe();
  const called = m.name || m.username;
  return (
    <Dialog small danger label="Remove" name={`Remove ${called}`} title={`Remove ${called} from the project?`} action="Remove" run={() => remove(m.user_id)} done={() => changed(`${called} is no longer a member.`)}>
      <Text size="sm">They lose access at once, and the API keys they made for this project stop. What they did stays on record.</Text>
      {m.user_id === me.user.id && <Text size="sm">{ownRole}</Text>}
    </Dialog>
  );
}
