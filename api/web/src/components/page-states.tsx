// What a page shows while it has nothing, has failed or has nothing to show.
import { Alert, Button, Center, Group, Loader, Stack, Text, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { IconAlertTriangle } from "@tabler/icons-react";
import { type ReactNode, useEffect } from "react";
import { ProblemError } from "../api/client";
import { useRefuge } from "../hooks/focus";

export function Waiting() {
  return (
    <Center mih={200} aria-busy="true">
      <Loader aria-label="Loading" />
    </Center>
  );
}

/** What stands where the answer of a query will. One that was read before stays on the page instead. */
export function Unready({ of }: { of: { error: Error | null; refetch: () => unknown } }) {
  return of.error ? <Failure error={of.error} retry={() => void of.refetch()} /> : <Waiting />;
}

/** Says what failed and what can be done about it. */
export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  const problem = error instanceof ProblemError ? error : null;
  const alert = useRefuge<HTMLDivElement>(error, true);
  return (
    <Alert ref={alert} tabIndex={-1} color="red" variant="light" icon={<IconAlertTriangle />} title={problem?.title ?? "Something went wrong"} role="alert" my="md">
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{error.message}</Text>
        <Remedies of={error} />
        {retry && (
          <Button size="xs" variant="default" onClick={retry}>
            Try again
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

/** What would change a refusal. */
export function Remedies({ of }: { of: Error }) {
  if (!(of instanceof ProblemError) || of.remedies.length === 0) return null;
  return (
    <ul>
      {of.remedies.map((remedy) => (
        <li key={remedy}>{remedy}</li>
      ))}
    </ul>
  );
}

export function Empty({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Center mih={200}>
      <Stack align="center" gap="xs" ta="center">
        <Title order={2} size="h4">
          {title}
        </Title>
        <Text maw={420} c="var(--mantine-color-text)">
          {children}
        </Text>
      </Stack>
    </Center>
  );
}

/** Whether a page was shown before: the first one leaves the focus where browsers begin. */
let arrived = false;

/** A page's heading and title, with its actions at the right. */
export function Heading({ children, actions }: { children: string; actions?: ReactNode }) {
  useDocumentTitle(`${children} · Countersign`);
  const title = useRefuge<HTMLHeadingElement>("", arrived); // a page that a link of the one before led to
  useEffect(() => void (arrived = true), []);
  return (
    <Group justify="space-between" mb="md">
      <Title ref={title} order={1} size="h2" tabIndex={-1}>
        {children}
      </Title>
      {actions && <Group gap="xs">{actions}</Group>}
    </Group>
  );
}
