// The warnings of a certificate's import.
import { Alert, List } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";

/** What the import could not check, and what software may refuse. */
export function Warnings({ warnings }: { warnings: string[] }) {
  if (warnings.length === 0) return null;
  return (
    <Alert color="orange" variant="light" mb="md" icon={<IconAlertTriangle />} title="Check this certificate before you use it">
      <List size="sm">
        {warnings.map((warning) => (
          <List.Item key={warning} style={{ overflowWrap: "anywhere" }}>
            {warning}
          </List.Item>
        ))}
      </List>
    </Alert>
  );
}
