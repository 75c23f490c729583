// The user's own account.
import { Alert, Button, PasswordInput, Stack, Text } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { answer, api, setCSRFToken } from "../api/client";
import { Failure, Heading } from "../components/page-states";
import { Section } from "../components/section";
import { useFocusOnChange } from "../hooks/focus";
import { userName } from "../hooks/members";
import { useMe } from "../hooks/session";

export default function Account() {
  const { user } = useMe();
  return (
    <>
      <Heading>Your account</Heading>
      <Text mb="md">
        {userName(user)}, username {user.username}
        {user.email && `, ${user.email}`}
      </Text>
      {user.password_set_by_other && (
        <Alert color="yellow" variant="light" title="Somebody else set your password" mb="md">
          Change it. Until then you cannot decide on approvals, and your earlier decisions on pending requests do not count.
        </Alert>
      )}
      <Section title="Change your password">
        <PasswordForm username={user.username} />
      </Section>
    </>
  );
}

function PasswordForm({ username }: { username: string }) {
  const queries = useQueryClient();
  const form = useForm({
    initialValues: { current_password: "", new_password: "", again: "" },
    validate: {
      new_password: (value) => (value.length < 12 ? "The password needs at least 12 characters." : null),
      again: (value, all) => (value === all.new_password ? null : "The passwords differ."),
    },
  });
  const change = useMutation({
    mutationFn: ({ current_password, new_password }: typeof form.values) => answer(api.PUT("/api/v1/me/password", { body: { current_password, new_password } })),
    gcTime: 0, // the passwords must not stay in the cache
    onSuccess: (session) => {
      setCSRFToken(session.csrf_token); // this session goes on with a new token
      form.reset();
      void queries.invalidateQueries({ queryKey: ["me"] });
    },
  });
  const success = useFocusOnChange<HTMLDivElement>(change.status);
  return (
    <form onSubmit={form.onSubmit((values) => change.mutate(values))}>
      <Stack maw={480}>
        <input type="text" name="username" autoComplete="username" value={username} readOnly hidden />
        <PasswordInput label="Current password" required maxLength={1000} autoComplete="current-password" {...form.getInputProps("current_password")} />
        <PasswordInput label="New password" description="At least 12 characters; several words are easy to remember." required maxLength={1000} autoComplete="new-password" {...form.getInputProps("new_password")} />
        <PasswordInput label="New password again" required maxLength={1000} autoComplete="new-password" {...form.getInputProps("again")} />
        {change.isError && <Failure error={change.error} />}
        {change.isSuccess && (
          <Alert ref={success} tabIndex={-1} color="green" variant="light" title="Your password was changed" role="status">
            Your other sessions have ended.
          </Alert>
        )}
        <Button type="submit" loading={change.isPending}>
          Change password
        </Button>
      </Stack>
    </form>
  );
}
