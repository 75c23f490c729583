// The users of this installation.
import { Badge, Checkbox, PasswordInput, Table, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { ActionDialog, fieldText } from "../components/action-dialog";
import { DataTable } from "../components/data-table";
import { Empty, Heading } from "../components/page-states";
import { PagedList } from "../components/paged-list";
import { Time } from "../components/time";
import { userName } from "../hooks/members";
import { usePages } from "../hooks/paging";
import { useMe } from "../hooks/session";

type User = Schemas["User"];

export default function Users() {
  const me = useMe();
  const users = usePages(["users", "pages"], (cursor) => answer(api.GET("/api/v1/users", { params: { query: { limit: 50, cursor } } })));
  return (
    <>
      <Heading actions={<CreateUser />}>Users</Heading>
      <Text mb="md">Users can open the projects of which they are members; system administrators can open every project.</Text>
      <PagedList query={users} empty={<Empty title="No users yet">Create one.</Empty>}>
        {(all) => (
          <DataTable minWidth={700} columns={["Name", "ID", "Created", "State", "Actions"]}>
            {all.map((u) => (
              <Row key={u.id} user={u} own={u.id === me.user.id} />
            ))}
          </DataTable>
        )}
      </PagedList>
    </>
  );
}

function Row({ user: u, own }: { user: User; own: boolean }) {
  return (
    <Table.Tr>
      <Table.Td>
        {userName(u)}
        <Text size="xs">{[u.username, u.email, u.system_admin && "system administrator"].filter(Boolean).join(", ")}</Text>
      </Table.Td>
      <Table.Td>{u.id}</Table.Td>
      <Table.Td>
        <Time at={u.created_at} day />
      </Table.Td>
      <Table.Td>
        <Badge color={u.disabled ? "red" : "green"} variant="light" tt="none" autoContrast>
          {u.disabled ? "disabled" : "enabled"}
        </Badge>
      </Table.Td>
      <Table.Td style={{ whiteSpace: "nowrap" }}>
        {!own && (
          <>
            <SetPassword user={u} /> <MakeOrRemoveAdministrator user={u} /> <EnableOrDisable user={u} />
          </>
        )}
      </Table.Td>
    </Table.Tr>
  );
}

/** Returns a function that shows a message and reads the users again. */
function useOnChanged() {
  const queries = useQueryClient();
  return (message: string) => {
    void queries.invalidateQueries({ queryKey: ["users"] });
    notifications.show({ message });
  };
}

const change = (uid: string, body: Schemas["UserChangeBody"]) => answer(api.PATCH("/api/v1/users/{uid}", { params: { path: { uid } }, body }));

function NewPassword({ label, ...rest }: { label: string; required?: boolean; description?: string }) {
  return <PasswordInput label={label} name="password" minLength={12} maxLength={1000} autoComplete="new-password" {...rest} />;
}

function CreateUser() {
  const onChanged = useOnChanged();
  const create = (form: FormData) => {
    const password = form.get("password") as string;
    const body = { username: fieldText(form, "username"), name: fieldText(form, "name"), email: fieldText(form, "email"), system_admin: form.has("system_admin"), ...(password ? { password } : {}) };
    return answer(api.POST("/api/v1/users", { body }));
  };
  return (
    <ActionDialog label="Create user" title="Create user" action="Create" run={create} done={(u) => onChanged(`The user ${userName(u)} was created. Add them to a project on its page Members.`)}>
      <TextInput label="Username" name="username" description="Lower-case letters, digits and . _ @ -" required maxLength={100} autoComplete="off" data-autofocus />
      <TextInput label="Name" name="name" maxLength={200} autoComplete="off" />
      <TextInput label="E-mail address" name="email" type="email" maxLength={254} autoComplete="off" />
      <NewPassword label="Password" description="At least 12 characters. Without one, the user cannot sign in with a password." />
      <Checkbox label="System administrator" name="system_admin" description="Can open every project and manage users and plugins." />
    </ActionDialog>
  );
}

function SetPassword({ user: u }: { user: User }) {
  const onChanged = useOnChanged();
  const name = userName(u);
  return (
    <ActionDialog
      small
      label="Set password"
      name={`Set password of ${name}`}
      title={`Set the password of ${name}`}
      action="Set"
      run={(form) => change(u.id, { password: form.get("password") as string })}
      done={() => onChanged(`The password of ${name} was set.`)}
    >
      <Text size="sm">The user is signed out everywhere. Give them the password on a safe way. Until they have changed it, they cannot decide on approvals, and their decisions do not count.</Text>
      <NewPassword label="New password" required description="At least 12 characters." />
    </ActionDialog>
  );
}

function MakeOrRemoveAdministrator({ user: u }: { user: User }) {
  const onChanged = useOnChanged();
  const name = userName(u);
  const [label, title] = u.system_admin ? ["Remove as administrator", `Remove ${name} as a system administrator?`] : ["Make administrator", `Make ${name} a system administrator?`];
  return (
    <ActionDialog
      small
      danger={u.system_admin}
      label={label}
      name={`${label}: ${name}`}
      title={title}
      action={u.system_admin ? "Remove" : "Make administrator"}
      run={() => change(u.id, { system_admin: !u.system_admin })}
      done={() => onChanged(`${name} is ${u.system_admin ? "no longer" : "now"} a system administrator.`)}
    >
      <Text size="sm">{u.system_admin ? "The user is signed out, keeps their projects, and loses their system API keys for good." : "The user is signed out. From the next sign-in on, they can open every project and manage users and plugins."}</Text>
    </ActionDialog>
  );
}

function EnableOrDisable({ user: u }: { user: User }) {
  const onChanged = useOnChanged();
  const name = userName(u);
  const action = u.disabled ? "Enable" : "Disable";
  return (
    <ActionDialog
      small
      danger={!u.disabled}
      label={action}
      name={`${action} ${name}`}
      title={`${action} ${name}?`}
      action={action}
      run={() => change(u.id, { disabled: !u.disabled })}
      done={() => onChanged(`The user ${name} was ${u.disabled ? "enabled" : "disabled"}.`)}
    >
      <Text size="sm">{u.disabled ? "The user can sign in again. API keys and decisions from before stay void." : "The user is signed out immediately, and their API keys stop working. The audit log keeps what they did."}</Text>
    </ActionDialog>
  );
}
