// Text that people take elsewhere, with a button that copies it.
import { Button, Code, Group, TextInput, VisuallyHidden } from "@mantine/core";
import { useClipboard } from "@mantine/hooks";

interface Props {
  text: string;
  what: string;
}

export function Copied({ text, what }: Props) {
  return (
    <Group gap="xs">
      <Code style={{ overflowWrap: "anywhere", overflow: "visible" }}>{text}</Code>
      <Copy text={text} what={what} small />
    </Group>
  );
}

/** The same for what is too long to be shown whole. */
export function CopiedField({ text, what }: Props) {
  return (
    <Group align="flex-end" gap="xs" wrap="nowrap">
      <TextInput label={what} readOnly value={text} flex={1} styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }} onFocus={(event) => event.currentTarget.select()} />
      <Copy text={text} what={what} />
    </Group>
  );
}

function Copy({ text, what, small }: Props & { small?: boolean }) {
  const clipboard = useClipboard();
  // Browsers have no clipboard for pages that came by plain HTTP from another machine.
  const said = clipboard.copied ? "Copied" : clipboard.error ? "Not possible here: select it" : "";
  return (
    <>
      <Button size={small ? "compact-xs" : undefined} variant="default" miw="max-content" onClick={() => clipboard.copy(text)}>
        {said || "Copy"}
        <VisuallyHidden> {what}</VisuallyHidden>
      </Button>
      <VisuallyHidden role="status">{said && `${said}: ${what}`}</VisuallyHidden>
    </>
  );
}
