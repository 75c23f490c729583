// The passphrase of a file, typed or generated, with its strength.
import { Button, Group, PasswordInput, Progress, Text } from "@mantine/core";
import { IconDice5 } from "@tabler/icons-react";
import { useState } from "react";

/** Letters and digits without those that look alike. */
const alphabet = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789";

/** Generates 24 characters, 138 bits. Bytes above the limit are dropped, because their remainder would favour the first letters. */
function generate(): string {
  const limit = 256 - (256 % alphabet.length);
  let text = "";
  while (text.length < 24) for (const byte of crypto.getRandomValues(new Uint8Array(32))) if (byte < limit && text.length < 24) text += alphabet[byte % alphabet.length];
  return text;
}

/** An upper bound of the passphrase's entropy in bits, from the kinds of characters in it. */
function entropy(text: string): number {
  const alphabetSize = [/[a-z]/, /[A-Z]/, /[0-9]/, /[^a-zA-Z0-9]/].reduce((sum, kind, i) => sum + (kind.test(text) ? [26, 26, 10, 33][i]! : 0), 0);
  const different = new Set(text).size;
  return Math.min(text.length, different * 2) * Math.log2(Math.max(1, alphabetSize));
}

const levels = [
  { from: 90, label: "Strong", color: "green" },
  { from: 60, label: "Fair", color: "yellow" },
  { from: 0, label: "Weak", color: "red" },
];

interface Props {
  value: string;
  onChange: (value: string) => void;
  minLength: number;
}

export function Passphrase({ value, onChange, minLength }: Props) {
  const [visible, setVisible] = useState(false);
  const bits = entropy(value);
  const level = levels.find((l) => bits >= l.from)!;
  return (
    <div>
      <Group align="flex-end" gap="xs" wrap="nowrap">
        <PasswordInput
          label="Passphrase"
          description={`${minLength} to 128 characters. Not stored: you need it to import the file.`}
          required
          autoComplete="new-password"
          flex={1}
          value={value}
          visible={visible}
          onVisibilityChange={setVisible}
          onChange={(event) => onChange(event.currentTarget.value)}
        />
        <Button
          variant="default"
          leftSection={<IconDice5 size={16} />}
          onClick={() => {
            onChange(generate());
            setVisible(true);
          }}
        >
          Generate
        </Button>
      </Group>
      {value && (
        <Group gap="xs" mt={6}>
          <Progress value={Math.min(100, bits)} color={level.color} flex={1} aria-label="Strength" />
          <Text size="xs">{level.label}</Text>
        </Group>
      )}
    </div>
  );
}
