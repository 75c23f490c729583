// The layout of pages that belong to no project and so have no navigation.
import { Button, Container, Group } from "@mantine/core";
import { IconLogout } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useSignOut } from "../hooks/session";
import { Failure, Heading } from "./page-states";

export function StandaloneLayout({ children }: { children: ReactNode }) {
  const signOut = useSignOut();
  return (
    <Container component="main" py="xl">
      {children}
      <Group mt="lg">
        <Button variant="default" leftSection={<IconLogout size={16} />} loading={signOut.isPending} onClick={() => signOut.mutate(false)}>
          Sign out
        </Button>
      </Group>
    </Container>
  );
}

export function NoProject({ error, retry }: { error: Error; retry: () => void }) {
  return (
    <StandaloneLayout>
      <Heading>The project cannot be shown</Heading>
      <Failure error={error} retry={retry} />
      <a href="/">Go to your first project</a>
    </StandaloneLayout>
  );
}
