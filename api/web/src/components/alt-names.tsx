// The alternative names of a certificate, of which there can be thousands.
import { Badge, Button, Group } from "@mantine/core";
import { useState } from "react";

const shown = 50;

export function AltNames({ names }: { names: string[] | null | undefined }) {
  const [all, setAll] = useState(false);
  if (!names?.length) return "None";
  return (
    <Group gap={4}>
      {names.slice(0, all ? undefined : shown).map((name, i) => (
        <Badge key={i} variant="default" tt="none">
          {name}
        </Badge>
      ))}
      {!all && names.length > shown && (
        <Button size="compact-xs" variant="subtle" onClick={() => setAll(true)}>
          Show all {names.length} names
        </Button>
      )}
    </Group>
  );
}
