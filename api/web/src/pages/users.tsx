// Everybody who can sign in to this installation.
import { Badge, Checkbox, PasswordInput, Table, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { Dialog, text } from "../components/action-dialog";
import { Paged, usePages } from "../components/paged-list";
import { Empty, Heading } from "../components/page-states";
import { Time } from "../components/time";
import { useMe } from "../components/session";

type User = Schemas["User"];

export default function Users() {
  const users = usePages(["users", "pages"], (cursor) => answer(api.GET("/api/v1/users", { params: { query: { limit: 50, cursor } } })));
  return (
    <>
      <Heading actions={<Make />}>Users</Heading>
      <Text mb="md">A user reaches the projects they are a member of; system administrators reach every project.</Text>
      <Paged of={users} empty={<Empty title="There are no users">Make one.</Empty>}>
        {(all) => <UserTable all={all} />}
      </Paged>
    </>
  );
}

function UserTable({ all }: { all: User[] }) {
  const me = useMe();
  return (
    <Table.ScrollContainer minWidth={700}>
      <Table verticalSpacing="xs">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th>
            <Table.Th>Id</Table.Th>
            <Table.Th>Made</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th>Actions</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {all.map((u) => (
            <Table.Tr key={u.id}>
              <Table.Td>
                {u.name || u.username}
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
              <Table.Td style={{ whiteSpace: "nowrap" }}>{u.id !== me.user.id && <><SetPassword of={u} /> <Switch of={u} /></>}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function useChanged() {
  const queries = useQueryClient();
  return (message: string) => {
    void queries.invalidateQueries({ queryKey: ["users"] });
    notifications.show({ message });
  };
}

const change = (uid: string, body: Schemas["UserChangeBody"]) => answer(api.PATCH("/api/v1/users/{uid}", { params: { path: { uid } }, body }));

function Password({ label, ...rest }: { label: string; required?: boolean; description?: string }) {
  return <PasswordInput label={label} name="password" minLength={12} maxLength={1000} autoComplete="new-password" {...rest} />;
}

function Make() {
  const changed = useChanged();
  const make = (form: FormData) => {
    const password = form.get("password") as string;
    const body = { username: text(form, "username"), name: text(form, "name"), email: text(form, "email"), system_admin: form.has("system_admin"), ...(password ? { password } : {}) };
    return answer(api.POST("/api/v1/users", { body }));
  };
  return (
    <Dialog label="Make a user" title="Make a user" action="Make" run={make} done={(u) => changed(`${u.name || u.username} is made. Add them to a project next, on its page of members.`)}>
      <TextInput label="Username" name="username" description="Lower-case letters, digits and . _ @ -" required maxLength={100} autoComplete="off" data-autofocus />
      <TextInput label="Name" name="name" maxLength={200} autoComplete="off" />
      <TextInput label="E-mail address" name="email" type="email" maxLength={254} autoComplete="off" />
      <Password label="Password" description="12 characters or more. Without one they cannot sign in with a password." />
      <Checkbox label="System administrator" name="system_admin" description="Reaches every project, users and plugins." />
    </Dialog>
  );
}

function SetPassword({ of: u }: { of: User }) {
  const changed = useChanged();
  const called = u.name || u.username;
  return (
    <Dialog
      small
      label="Set password"
      name={`Set password of ${called}`}
      title={`Set the password of ${called}`}
      action="Set"
      run={(form) => change(u.id, { password: form.get("password") as string })}
      done={() => changed(`The password of ${called} is set.`)}
    >
      <Text size="sm">They are signed out everywhere. Hand it over by a safe way, and have them change it.</Text>
      <Password label="New password" required description="12 characters or more." />
    </Dialog>
  );
}

function Switch({ of: u }: { of: User }) {
  const changed = useChanged();
  const called = u.name || u.username;
  const action = u.disabled ? "Enable" : "Disable";
  return (
    <Dialog
      small
      danger={!u.disabled}
      label={action}
      name={`${action} ${called}`}
      title={`${action} ${called}?`}
      action={action}
      run={() => change(u.id, { disabled: !u.disabled })}
      done={() => changed(`${called} is ${u.disabled ? "enabled" : "disabled"}.`)}
    >
      <Text size="sm">{u.disabled ? "They can sign in again, and their API keys work again." : "They are cut off at once, API keys included. What they did stays on record."}</Text>
    </Dialog>
  );
}
