// The settings of a policy, to change or only to read.
import { Fieldset, Group, Input, NumberInput, Radio, Select, Stack, Switch, Table, Text } from "@mantine/core";
import { useState } from "react";
import { type FlatPolicy, type Setting, settings, type Unit, unitOf, units, validationError, valueText } from "./settings";

interface InputProps<S = Setting> {
  setting: S;
  policy: FlatPolicy;
  change: (part: Partial<FlatPolicy>) => void;
}

export function SettingInputs({ policy, change }: { policy: FlatPolicy; change: (part: Partial<FlatPolicy>) => void }) {
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
            {Object.entries(setting.choices).map(([choice, text]) => (
              <Radio key={choice} value={choice} label={text} />
            ))}
          </Stack>
        </Radio.Group>
      );
    case "number":
      return <WholeNumber label={label} help={`${help} At most ${setting.max}.`} value={Number(value)} error={validationError(setting, policy)} onChange={(next) => change({ [name]: next })} />;
    case "duration":
      return <Duration setting={setting} policy={policy} change={change} />;
  }
}

interface NumberProps {
  label?: string;
  /** The accessible name of an input without a label. */
  name?: string;
  help?: string;
  value: number;
  error?: string;
  onChange: (value: number) => void;
}

/** An empty input has the value NaN. */
function WholeNumber({ label, name, help, value, error, onChange }: NumberProps) {
  return (
    <NumberInput
      label={label}
      aria-label={name}
      description={help}
      error={error}
      value={Number.isNaN(value) ? "" : value}
      onChange={(next) => onChange(next === "" ? NaN : Number(next))}
      min={1}
      allowDecimal={false}
      allowNegative={false}
      clampBehavior="none"
      styles={{ wrapper: { maxWidth: 220 } }}
    />
  );
}

/** A duration with a unit that the user can choose. */
function Duration({ setting, policy, change }: InputProps<Extract<Setting, { kind: "duration" }>>) {
  const seconds = Number(policy[setting.name]);
  const [chosen, setChosen] = useState<Unit>(() => unitOf(seconds));
  const unit = seconds % units[chosen] === 0 || Number.isNaN(seconds) ? chosen : unitOf(seconds);
  const amount = seconds / units[unit];
  const set = (amount: number, unit: Unit) => {
    setChosen(unit);
    change({ [setting.name]: amount * units[unit] });
  };
  return (
    <Fieldset legend={<Input.Label labelElement="div">{setting.label}</Input.Label>} variant="unstyled" p={0} m={0}>
      <Input.Description mb={6}>{setting.help}</Input.Description>
      <Group gap="xs" align="flex-start">
        <WholeNumber name="Amount" value={amount} error={validationError(setting, policy)} onChange={(next) => set(next, unit)} />
        <Select aria-label="Unit" w={120} allowDeselect={false} data={Object.keys(units).filter((u) => units[u as Unit] <= setting.maxSeconds)} value={unit} onChange={(next) => set(amount, next as Unit)} />
      </Group>
    </Fieldset>
  );
}

/** Shows a policy to users who may not change it. */
export function SettingTable({ policy }: { policy: FlatPolicy }) {
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
            <Table.Td>{valueText(setting, policy)}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
