// The settings of a policy, to change or only to read.
import { Fieldset, Group, Input, NumberInput, Radio, Select, Stack, Switch, Table, Text } from "@mantine/core";
import { useState } from "react";
import { type Flat, problem, say, type Setting, settings, type Unit, unitOf, units } from "./settings";

interface InputProps {
  setting: Setting;
  policy: Flat;
  change: (part: Partial<Flat>) => void;
}

export function SettingInputs({ policy, change }: { policy: Flat; change: (part: Partial<Flat>) => void }) {
  return (
    <Stack gap="lg" maw={640}>
      {settings.map((setting) => (
        <SettingInput key={setting.name} setting={setting} policy={policy} change={change} />
      ))}
    </Stack>
  );
}

function SettingInput({ setting, policy, change }: InputProps) {
  const { name, label, help } = setting;
  const value = policy[name];
  switch (setting.kind) {
    case "switch":
      return <Switch label={label} description={help} checked={value === true} onChange={(event) => change({ [name]: event.currentTarget.checked })} />;
    case "choice":
      return (
        <Radio.Group label={label} description={help} value={String(value)} onChange={(chosen) => change({ [name]: chosen })}>
          <Stack gap="xs" mt="xs">
            {Object.entries(setting.choices).map(([choice, words]) => (
              <Radio key={choice} value={choice} label={words} />
            ))}
          </Stack>
        </Radio.Group>
      );
    case "number":
      return <Amount label={label} help={`${help} At most ${setting.max}.`} value={Number(value)} error={problem(setting, policy)} set={(next) => change({ [name]: next })} />;
    case "duration":
      return <Duration setting={setting} policy={policy} change={change} />;
  }
}

interface AmountProps {
  label?: string;
  /** What it is called to those who do not see it, without a label. */
  name?: string;
  help?: string;
  value: number;
  error?: string;
  set: (value: number) => void;
}

/** A whole number; none yet is NaN. */
function Amount({ label, name, help, value, error, set }: AmountProps) {
  return (
    <NumberInput
      label={label}
      aria-label={name}
      description={help}
      error={error}
      value={Number.isNaN(value) ? "" : value}
      onChange={(next) => set(next === "" ? NaN : Number(next))}
      min={1}
      allowDecimal={false}
      allowNegative={false}
      clampBehavior="none"
      styles={{ wrapper: { maxWidth: 220 } }}
    />
  );
}

/** A duration in the unit that suits it. */
function Duration({ setting, policy, change }: InputProps) {
  const seconds = Number(policy[setting.name]);
  const [chosen, choose] = useState<Unit>(() => unitOf(seconds));
  const unit = seconds % units[chosen] === 0 || Number.isNaN(seconds) ? chosen : unitOf(seconds);
  const max = setting.kind === "duration" ? setting.max : 0;
  const set = (amount: number, of: Unit) => {
    choose(of);
    change({ [setting.name]: amount * units[of] });
  };
  const amount = seconds / units[unit];
  return (
    <Fieldset legend={<Input.Label labelElement="div">{setting.label}</Input.Label>} variant="unstyled" p={0} m={0}>
      <Input.Description mb={6}>{setting.help}</Input.Description>
      <Group gap="xs" align="flex-start">
        <Amount name="Amount" value={amount} error={problem(setting, policy)} set={(next) => set(next, unit)} />
        <Select aria-label="Unit" w={120} allowDeselect={false} data={Object.keys(units).filter((u) => units[u as Unit] <= max)} value={unit} onChange={(next) => set(amount, next as Unit)} />
      </Group>
    </Fieldset>
  );
}

/** A policy for those who cannot change it. */
export function SettingTable({ policy }: { policy: Flat }) {
  return (
    <Table verticalSpacing="sm" layout="fixed">
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Setting</Table.Th>
          <Table.Th w={{ base: 130, sm: 220 }}>Value</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {settings.map((setting) => (
          <Table.Tr key={setting.name}>
            <Table.Th scope="row" fw={500}>
              {setting.label}
              <Text size="xs">{setting.help}</Text>
            </Table.Th>
            <Table.Td>{say(setting, policy)}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
