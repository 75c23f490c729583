// Text with a Copy button.
import { Button, Code, Group, TextInput, VisuallyHidden } from "@mantine/core";
import { useClipboard } from "@mantine/hooks";

interface Props {
  text: string;
  /** Names the text for screen readers, and labels the field. */
  what: string;
}

export function Copyable({ text, what }: Props) {
  return (
    <Group gap="xs">
      <Code style={{ overflowWrap: "anywhere", overflow: "visible" }}>{text}</Code>
      <CopyButton text={text} what={what} small />
    </Group>
  );
}

/** Shows a long text in one line, cut off. */
export function CopyableField({ text, what }: Props) {
  return (
    <Group align="flex-end" gap="xs" wrap="nowrap">
      <TextInput label={what} readOnly value={text} flex={1} styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }} onFocus={(event) => event.currentTarget.select()} />
      <CopyButton text={text} what={what} />
    </Group>
  );
}

function CopyButton({ text, what, small }: Props & { small?: boolean }) {
  const clipboard = useClipboard();
  // Browsers offer no clipboard to pages that came over plain HTTP from another machine.
  const result = clipboard.copied ? "Copied" : clipboard.error ? "Cannot copy: select the text" : "";
  return (
    <>
      <Button size={small ? "compact-xs" : undefined} variant="default" miw="max-content" onClick={() => clipboard.copy(text)}>
        {result || "Copy"}
        <VisuallyHidden> {what}</VisuallyHidden>
      </Button>
      <VisuallyHidden role="status">{result && `${result}: ${what}`}</VisuallyHidden>
    </>
  );
}
