// Who is signed in. When a session ends under way, its person signs in again over
// the page they were on: what they filled in stays.
import { Alert, Button, Center, Modal, Paper, PasswordInput, Stack, TextInput, Title } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useState } from "react";
import { answer, api, ProblemError, type Schemas, setForgeryToken, whenSignedOut } from "./api/client";
import { Failure, Waiting } from "./parts/states";

const MeContext = createContext<Schemas["Me"] | null>(null);

/** The person signed in. */
export function useMe(): Schemas["Me"] {
  const me = useContext(MeContext);
  if (!me) throw new Error("useMe is for pages of people who are signed in");
  return me;
}

/** Signs out, here or everywhere. */
export function useSignOut() {
  return useMutation({
    mutationFn: (everywhere: boolean) => (everywhere ? answer(api.DELETE("/api/v1/sessions")) : answer(api.DELETE("/api/v1/session"))),
    onSettled: () => window.location.assign("/"), // a new page forgets everything
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

export function SignedIn({ children }: { children: ReactNode }) {
  const [ended, setEnded] = useState(false);
  const me = useQuery({ queryKey: ["me"], queryFn: whoCalls, staleTime: Infinity });
  const [last, setLast] = useState<Schemas["Me"] | null>(null);
  useEffect(() => {
    if (me.data) setLast(me.data);
  }, [me.data]);
  useEffect(() => whenSignedOut(() => setEnded(true)), []);

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

function SignInForm({ username, done }: { username?: string; done: () => void }) {
  const queries = useQueryClient();
  const form = useForm({ initialValues: { username: username ?? "", password: "" } });
  const signIn = useMutation({
    mutationFn: (body: Schemas["SignInBody"]) => answer(api.POST("/api/v1/session", { body })),
    onSuccess: async (session) => {
      setForgeryToken(session.csrf_token);
      form.setFieldValue("password", "");
      if (username !== undefined && session.user.username !== username) {
        queries.clear(); // somebody else: nothing of the one before stays
        window.location.assign("/");
        return;
      }
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
