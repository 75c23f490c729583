// One's own account.
import { Alert, Button, Paper, PasswordInput, Stack, Text, Title } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { answer, api, setForgeryToken } from "../api/client";
import { useRefuge } from "../hooks/focus";
import { Failure, Heading } from "../components/page-states";
import { useMe } from "../components/session";

export default function Account() {
  const { user } = useMe();
  return (
    <>
      <Heading>Your account</Heading>
      <Text mb="md">
        {user.name || user.username}, username {user.username}
        {user.email && `, ${user.email}`}
      </Text>
      <Password username={user.username} />
    </>
  );
}

function Password({ username }: { username: string }) {
  const queries = useQueryClient();
  const form = useForm({
    initialValues: { current_password: "", new_password: "", again: "" },
    validate: {
      new_password: (value) => (value.length < 12 ? "It needs 12 characters or more." : null),
      again: (value, all) => (value === all.new_password ? null : "This is not the new password."),
    },
  });
  const change = useMutation({
    mutationFn: ({ current_password, new_password }: typeof form.values) => answer(api.PUT("/api/v1/me/password", { body: { current_password, new_password } })),
    gcTime: 0,
    onSuccess: (session) => {
      setForgeryToken(session.csrf_token); // of the session that goes on
      form.reset();
      void queries.invalidateQueries({ queryKey: ["me"] });
    },
  });
  const outcome = useRefuge<HTMLDivElement>(change.status);
  return (
    <Paper withBorder p="md" maw={480}>
      <Title order={2} size="h4" mb="md">
        Change your password
      </Title>
      <form onSubmit={form.onSubmit((filled) => change.mutate(filled))}>
        <Stack>
          <input type="text" name="username" autoComplete="username" value={username} readOnly hidden />
          <PasswordInput label="Current password" required maxLength={1000} autoComplete="current-password" {...form.getInputProps("current_password")} />
          <PasswordInput label="New password" description="12 characters or more; several words are easy to keep in mind." required maxLength={1000} autoComplete="new-password" {...form.getInputProps("new_password")} />
          <PasswordInput label="New password again" required maxLength={1000} autoComplete="new-password" {...form.getInputProps("again")} />
          {change.isError && <Failure error={change.error} />}
          {change.isSuccess && (
            <Alert ref={outcome} tabIndex={-1} color="green" variant="light" title="Your password is changed" role="status">
              Your other sessions are ended.
            </Alert>
          )}
          <Button type="submit" loading={change.isPending}>
            Change password
          </Button>
        </Stack>
      </form>
    </Paper>
  );
}
