// Pages that stand by themselves, without a project's navigation.
import { Button, Container, Group } from "@mantine/core";
import { IconLogout } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useSignOut } from "./session";
import { Failure, Heading } from "./page-states";

export function Alone({ children }: { children: ReactNode }) {
  const leave = useSignOut();
  return (
    <Container component="main" py="xl">
      {children}
      <Group mt="lg">
        <Button variant="default" leftSection={<IconLogout size={16} />} loading={leave.isPending} onClick={() => leave.mutate(false)}>
          Sign out
        </Button>
      </Group>
    </Container>
  );
}

export function NoProject({ error, retry }: { error: Error; retry: () => void }) {
  return (
    <Alone>
      <Heading>Nothing to show</Heading>
      <Failure error={error} retry={retry} />
      <a href="/">Start again</a>
    </Alone>
  );
}
