// Text that people take elsewhere, with a button that copies it.
import { Button, Code, CopyButton, Group } from "@mantine/core";

export function Copied({ text, what }: { text: string; what: string }) {
  return (
    <Group gap="xs">
      <Code style={{ overflowWrap: "anywhere", overflow: "visible" }}>{text}</Code>
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <Button size="compact-xs" variant="default" onClick={copy} aria-label={`Copy ${what}`}>
            {copied ? "Copied" : "Copy"}
          </Button>
        )}
      </CopyButton>
    </Group>
  );
}
