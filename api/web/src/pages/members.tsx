// The members of the project, and their roles.
import { Select, Table, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { ActionDialog, fieldText } from "../components/action-dialog";
import { DataTable } from "../components/data-table";
import { Empty, Heading } from "../components/page-states";
import { PagedList } from "../components/paged-list";
import { Time } from "../components/time";
import { roleChoices, userName } from "../hooks/members";
import { readAll, usePages } from "../hooks/paging";
import { useHasRole, useProject } from "../hooks/project";
import { useMe } from "../hooks/session";

type Member = Schemas["Member"];

export default function Members() {
  const { id: pid } = useProject();
  const admin = useHasRole("admin");
  const members = usePages(["members", pid, "pages"], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/members", { params: { path: { pid }, query: { limit: 50, cursor } } })),
  );
  return (
    <>
      <Heading actions={admin && <AddMember />}>Members</Heading>
      <PagedList query={members} empty={<Empty title="No members yet">System administrators can open the project without being a member.</Empty>}>
        {(all) => (
          <DataTable minWidth={560} columns={["Name", "Role", "Since", admin && "Actions"]}>
            {all.map((m) => (
              <Row key={m.user_id} member={m} admin={admin} />
            ))}
          </DataTable>
        )}
      </PagedList>
    </>
  );
}

function Row({ member: m, admin }: { member: Member; admin: boolean }) {
  return (
    <Table.Tr>
      <Table.Td>
        {userName(m)}
        <Text size="xs">{m.username}</Text>
      </Table.Td>
      <Table.Td>{m.role}</Table.Td>
      <Table.Td>
        <Time at={m.created_at} day />
      </Table.Td>
      {admin && (
        <Table.Td style={{ whiteSpace: "nowrap" }}>
          <ChangeRole member={m} /> <RemoveMember member={m} />
        </Table.Td>
      )}
    </Table.Tr>
  );
}

/** The changes of a membership, and what follows them: a message, and pages that are up to date. */
function useMembership() {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  return {
    setRole: (uid: string, role: string) => answer(api.PUT("/api/v1/projects/{pid}/members/{uid}", { params: { path: { pid, uid } }, body: { role } })),
    remove: (uid: string) => answer(api.DELETE("/api/v1/projects/{pid}/members/{uid}", { params: { path: { pid, uid } } })),
    onChanged: (message: string) => {
      for (const key of ["members", "api-keys", "project"]) void queries.invalidateQueries({ queryKey: [key] });
      notifications.show({ message });
    },
  };
}

function RoleSelect({ current }: { current: string }) {
  return <Select label="Role" name="role" allowDeselect={false} defaultValue={current} data={roleChoices()} />;
}

function AddMember() {
  const { setRole, onChanged } = useMembership();
  const me = useMe();
  return (
    <ActionDialog
      label="Add member"
      title="Add member"
      action="Add"
      run={(form) => setRole(fieldText(form, "user"), fieldText(form, "role"))}
      done={(m) => onChanged(`${userName(m)} is now a member with the role ${m.role}.`)}
    >
      {me.user.system_admin ? <UserSelect /> : <TextInput label="User ID" name="user" description="System administrators find it on the page Users." required data-autofocus />}
      <RoleSelect current="viewer" />
    </ActionDialog>
  );
}

/** Chooses among all users, whom only system administrators may list. */
function UserSelect() {
  const users = useQuery({ queryKey: ["users"], queryFn: () => readAll((cursor) => answer(api.GET("/api/v1/users", { params: { query: { limit: 200, cursor } } }))) });
  const data = (users.data ?? []).filter((u) => !u.disabled).map((u) => ({ value: u.id, label: `${userName(u)} (${u.username})` }));
  return <Select label="User" name="user" searchable required data={data} nothingFoundMessage="No user has this name. Create the user on the page Users first." />;
}

function OwnMembershipWarning({ member }: { member: Member }) {
  const me = useMe();
  return member.user_id === me.user.id && <Text size="sm">This is your own membership: you may lose access to this page.</Text>;
}

function ChangeRole({ member: m }: { member: Member }) {
  const { setRole, onChanged } = useMembership();
  const name = userName(m);
  return (
    <ActionDialog
      small
      label="Change role"
      name={`Change role of ${name}`}
      title={`Change the role of ${name}`}
      action="Change"
      run={(form) => setRole(m.user_id, fieldText(form, "role"))}
      done={(changed) => onChanged(`${name} now has the role ${changed.role}.`)}
    >
      <RoleSelect current={m.role} />
      <OwnMembershipWarning member={m} />
    </ActionDialog>
  );
}

function RemoveMember({ member: m }: { member: Member }) {
  const { remove, onChanged } = useMembership();
  const name = userName(m);
  return (
    <ActionDialog small danger label="Remove" name={`Remove ${name}`} title={`Remove ${name} from the project?`} action="Remove" run={() => remove(m.user_id)} done={() => onChanged(`${name} is no longer a member.`)}>
      <Text size="sm">The user loses access immediately, and API keys that they created for this project stop working. The audit log keeps what they did.</Text>
      <OwnMembershipWarning member={m} />
    </ActionDialog>
  );
}
