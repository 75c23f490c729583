// A page's heading, and what the page shows while it loads, after a failure or when
// there is nothing to show.
import { Alert, Anchor, Breadcrumbs, Button, Center, Group, Loader, Stack, Text, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { IconAlertTriangle } from "@tabler/icons-react";
import { type ReactNode, useEffect } from "react";
import { Link } from "react-router";
import { ProblemError } from "../api/client";
import { useFocusOnChange } from "../hooks/focus";

export function Loading() {
  return (
    <Center mih={200} aria-busy="true">
      <Loader role="img" aria-label="Loading" />
    </Center>
  );
}

/** Takes the place of a query's data until they arrive. Data that were read before a failure stay on the page instead. */
export function QueryState({ query }: { query: { error: Error | null; refetch: () => unknown } }) {
  return query.error ? <Failure error={query.error} retry={() => void query.refetch()} /> : <Loading />;
}

/** Says what failed and what the user can do about it. */
export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  const problem = error instanceof ProblemError ? error : null;
  const alert = useFocusOnChange<HTMLDivElement>(error, true);
  return (
    <Alert ref={alert} tabIndex={-1} color="red" variant="light" icon={<IconAlertTriangle />} title={problem?.title ?? "Something went wrong"} role="alert" my="md">
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{error.message}</Text>
        {problem && problem.remedies.length > 0 && (
          <ul>
            {problem.remedies.map((remedy) => (
              <li key={remedy}>{remedy}</li>
            ))}
          </ul>
        )}
        {retry && (
          <Button size="xs" variant="default" onClick={retry}>
            Try again
          </Button>
        )}
      </Stack>
    </Alert>
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

/** Whether a page was shown before: on the first one, the focus stays where the browser puts it. */
let navigated = false;

/** A page's heading, which is also the document's title, with the page's actions at the right. */
export function Heading({ children, actions }: { children: string; actions?: ReactNode }) {
  useDocumentTitle(`${children} · Countersign`);
  const title = useFocusOnChange<HTMLHeadingElement>("", navigated);
  useEffect(() => void (navigated = true), []);
  return (
    <Group justify="space-between" mb="md">
      <Title ref={title} order={1} size="h2" tabIndex={-1}>
        {children}
      </Title>
      {actions && <Group gap="xs">{actions}</Group>}
    </Group>
  );
}

/** Leads from one item back to the list it belongs to. */
export function Breadcrumb({ list, to, item }: { list: string; to: string; item: string }) {
  return (
    <Breadcrumbs mb="xs">
      <Anchor component={Link} to={to}>
        {list}
      </Anchor>
      <Text>{item}</Text>
    </Breadcrumbs>
  );
}
