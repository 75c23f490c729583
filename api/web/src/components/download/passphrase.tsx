// The passphrase of a file: typed or made up, with how strong it is.
import { Button, Group, PasswordInput, Progress, Text } from "@mantine/core";
import { IconDice5 } from "@tabler/icons-react";
import { useState } from "react";

const letters = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789"; // none that look alike

/** 24 characters, 138 bits: each is drawn evenly, without the bias of a remainder. */
function madeUp(): string {
  const limit = 256 - (256 % letters.length);
  let text = "";
  while (text.length < 24) for (const byte of crypto.getRandomValues(new Uint8Array(32))) if (byte < limit && text.length < 24) text += letters[byte % letters.length];
  return text;
}

/** An upper bound of what a search for it costs, in bits: of its kinds of characters. */
function bits(text: string): number {
  const kinds = [/[a-z]/, /[A-Z]/, /[0-9]/, /[^a-zA-Z0-9]/].map((kind, i) => (kind.test(text) ? [26, 26, 10, 33][i]! : 0));
  const different = new Set(text).size;
  return Math.min(text.length, different * 2) * Math.log2(Math.max(1, kinds.reduce((a, b) => a + b, 0)));
}

const levels = [
  { from: 90, label: "strong", color: "green" },
  { from: 60, label: "fair", color: "yellow" },
  { from: 0, label: "weak", color: "red" },
];

interface Props {
  value: string;
  onChange: (value: string) => void;
  min: number;
}

export function Passphrase({ value, onChange, min }: Props) {
  const [shown, show] = useState(false);
  const level = levels.find((l) => bits(value) >= l.from)!;
  return (
    <div>
      <Group align="flex-end" gap="xs" wrap="nowrap">
        <PasswordInput
          label="Passphrase"
          description={`Protects the file. ${min} to 128 characters; whoever imports it needs it, and it is kept nowhere.`}
          required
          autoComplete="new-password"
          flex={1}
          value={value}
          visible={shown}
          onVisibilityChange={show}
          onChange={(event) => onChange(event.currentTarget.value)}
        />
        <Button
          variant="default"
          leftSection={<IconDice5 size={16} />}
          onClick={() => {
            onChange(madeUp());
            show(true);
          }}
        >
          Generate
        </Button>
      </Group>
      {value && (
        <Group gap="xs" mt={6}>
          <Progress value={Math.min(100, bits(value))} color={level.color} flex={1} aria-label="Strength" />
          <Text size="xs">{level.label}</Text>
        </Group>
      )}
    </div>
  );
}
