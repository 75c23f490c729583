// Who is signed in. When a session ends under way, its person signs in again over
// the page they were on: what they filled in stays.
import { Alert, Button, Center, Modal, Paper, PasswordInput, Stack, TextInput, Title } from "@mantine/core";
import { useForm } from "@mantine/form";
import { notifications } from "@mantine/notifications";
import { type QueryClient, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useState } from "react";
import { answer, api, on, ProblemError, type Schemas, setForgeryToken } from "../api/client";
import { Failure, Waiting } from "./page-states";

const MeContext = createContext<Schemas["Me"] | null>(null);

/** The person signed in. */
export function useMe(): Schemas["Me"] {
  const me = useContext(MeContext);
  if (!me) throw new Error("useMe is for pages of people who are signed in");
  return me;
}

/** Signs out, here or everywhere. One that failed is said: whoever leaves must know. */
export function useSignOut() {
  const leave = () => window.location.assign("/"); // a new page forgets everything
  return useMutation({
    mutationFn: (everywhere: boolean) => (everywhere ? answer(api.DELETE("/api/v1/sessions")) : answer(api.DELETE("/api/v1/session"))),
    onSuccess: leave,
    onError: (error) => {
      if (error instanceof ProblemError && error.status === 401) leave();
      else notifications.show({ color: "red", title: "You are still signed in", message: error.message, autoClose: false });
    },
  });
}

async function whoCalls(): Promise<Schemas["Me"] | null> {
  try {
    const me = await answer(api.GET("/api/v1/me"));
    setForgeryToken(me.session?.csrf_token ?? "");
    return me;
  } catch (error) {
    if (error instanceof ProblemError && error.status === 401) return null;
    throw error;
  }
}

/** Tells other tabs of this browser that somebody signed in: the session is theirs, too. */
const tabs = new BroadcastChannel("countersign");

/** What lies under a dialog that says that the session ended is not for Escape to close. */
let over = false;
window.addEventListener("keydown", (event) => over && event.key === "Escape" && event.stopImmediatePropagation(), { capture: true });

export function SignedIn({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const [ended, setEnded] = useState(false);
  const me = useQuery({ queryKey: ["me"], queryFn: whoCalls, staleTime: Infinity, refetchOnWindowFocus: "always" });
  const [last, setLast] = useState<Schemas["Me"] | null>(null);
  useEffect(() => void (over = ended), [ended]);
  useEffect(() => {
    if (!me.data) return;
    if (last && last.user.id !== me.data.user.id) return startAnew(queries);
    setLast(me.data);
    setEnded(false);
  }, [me.data, me.dataUpdatedAt]);
  useEffect(() => {
    on({
      signedOut: () => setEnded(true),
      renewed: async () => {
        const now = await queries.fetchQuery({ queryKey: ["me"], queryFn: whoCalls, staleTime: 0 });
        return !!now && now.user.id === last?.user.id;
      },
    });
    tabs.onmessage = () => void queries.invalidateQueries();
  }, [queries, last]);

  if (me.isPending) return <Waiting />;
  if (me.isError && !last) return <Failure error={me.error} retry={() => void me.refetch()} />;
  const who = me.data ?? last;
  if (!who)
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
    <MeContext.Provider value={who}>
      {children}
      <Modal opened={ended} onClose={() => {}} withCloseButton={false} closeOnEscape={false} title="Your session ended" centered zIndex={1000}>
        <Alert mb="md" color="blue" variant="light">
          Sign in again to go on where you were. Nothing you filled in is lost.
        </Alert>
        <SignInForm username={who.user.username} done={() => setEnded(false)} />
      </Modal>
    </MeContext.Provider>
  );
}

/** Somebody else is signed in now: nothing of the one before stays. */
function startAnew(queries: QueryClient) {
  queries.clear();
  window.location.assign("/");
}

function SignInForm({ username, done }: { username?: string; done: () => void }) {
  const queries = useQueryClient();
  const form = useForm({ initialValues: { username: username ?? "", password: "" } });
  const signIn = useMutation({
    gcTime: 0, // the password
    mutationFn: (body: Schemas["SignInBody"]) => answer(api.POST("/api/v1/session", { body })),
    onSuccess: async (session) => {
      setForgeryToken(session.csrf_token);
      form.setFieldValue("password", "");
      tabs.postMessage("signed in");
      if (username !== undefined && session.user.username !== username) return startAnew(queries);
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
