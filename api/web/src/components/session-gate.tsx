// Shows the pages to a signed-in user, and the sign-in form to anyone else. When a
// session ends, the user signs in again over the page: what they filled in is kept.
import { Alert, Button, Center, Modal, Paper, PasswordInput, Stack, TextInput, Title } from "@mantine/core";
import { useForm } from "@mantine/form";
import { type QueryClient, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { answer, api, type Schemas, setCSRFToken, setHandlers } from "../api/client";
import { MeContext, readMe } from "../hooks/session";
import { Failure, Loading } from "./page-states";

/** Tells the other tabs of this browser that a user signed in, because tabs share the session. */
const tabs = new BroadcastChannel("countersign");

/** While the sign-in dialog is open, Escape must not close a dialog below it. */
let sessionDialogOpen = false;
window.addEventListener("keydown", (event) => sessionDialogOpen && event.key === "Escape" && event.stopImmediatePropagation(), { capture: true });

export function SessionGate({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const [ended, setEnded] = useState(false);
  const me = useQuery({ queryKey: ["me"], queryFn: readMe, staleTime: Infinity, refetchOnWindowFocus: "always" });
  const [last, setLast] = useState<Schemas["Me"] | null>(null);
  useEffect(() => void (sessionDialogOpen = ended), [ended]);
  useEffect(() => {
    if (!me.data) return;
    if (last && last.user.id !== me.data.user.id) return startOver(queries);
    setLast(me.data);
    setEnded(false);
  }, [me.data, me.dataUpdatedAt]);
  useEffect(() => {
    setHandlers({
      onSignedOut: () => setEnded(true),
      renewCSRFToken: async () => {
        const current = await queries.fetchQuery({ queryKey: ["me"], queryFn: readMe, staleTime: 0 });
        return !!current && current.user.id === last?.user.id;
      },
    });
    tabs.onmessage = () => void queries.invalidateQueries();
  }, [queries, last]);

  if (me.isPending) return <Loading />;
  if (me.isError && !last) return <Failure error={me.error} retry={() => void me.refetch()} />;
  const user = me.data ?? last;
  if (!user)
    return (
      <Center mih="100dvh" p="md" component="main">
        <Paper withBorder shadow="sm" p="xl" w="100%" maw={400}>
          <Title order={1} size="h2" mb="lg">
            Sign in to Countersign
          </Title>
          <SignInForm done={() => setEnded(false)} />
        </Paper>
      </Center>
    );
  return (
    <MeContext.Provider value={user}>
      {children}
      <Modal opened={ended} onClose={() => {}} withCloseButton={false} closeOnEscape={false} title="Your session has ended" centered zIndex={1000}>
        <Alert mb="md" color="blue" variant="light">
          Sign in again to continue. What you filled in is kept.
        </Alert>
        <SignInForm username={user.user.username} done={() => setEnded(false)} />
      </Modal>
    </MeContext.Provider>
  );
}

/** Loads the page again after another user signed in, so that no data of the former user stays. */
function startOver(queries: QueryClient) {
  queries.clear();
  window.location.assign("/");
}

function SignInForm({ username, done }: { username?: string; done: () => void }) {
  const queries = useQueryClient();
  const form = useForm({ initialValues: { username: username ?? "", password: "" } });
  const signIn = useMutation({
    gcTime: 0, // the password must not stay in the cache
    mutationFn: (body: Schemas["SignInBody"]) => answer(api.POST("/api/v1/session", { body })),
    onSuccess: async (session) => {
      setCSRFToken(session.csrf_token);
      form.setFieldValue("password", "");
      tabs.postMessage("signed in");
      if (username !== undefined && session.user.username !== username) return startOver(queries);
      done();
      await queries.invalidateQueries();
    },
  });
  return (
    <form onSubmit={form.onSubmit((body) => signIn.mutate(body))}>
      <Stack>
        {signIn.isError && (
          <Alert color="red" variant="light" role="alert">
            {signIn.error.message}
          </Alert>
        )}
        <TextInput label="Username" autoComplete="username" required data-autofocus={!username || undefined} {...form.getInputProps("username")} />
        <PasswordInput label="Password" autoComplete="current-password" required data-autofocus={!!username || undefined} {...form.getInputProps("password")} />
        <Button type="submit" loading={signIn.isPending}>
          Sign in
        </Button>
      </Stack>
    </form>
  );
}
