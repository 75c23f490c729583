// Shows what a change of the policy changes, and lets the user choose where somebody
// else changed the same settings meanwhile.
import { Button, Group, Radio, Stack, Table, Text } from "@mantine/core";
import { useState } from "react";
import { useFocusOnChange } from "../../hooks/focus";
import { differences, type FlatPolicy, summary, valueText } from "./settings";

export function Changes({ from, to }: { from: FlatPolicy; to: FlatPolicy }) {
  return (
    <>
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Setting</Table.Th>
            <Table.Th>Before</Table.Th>
            <Table.Th>After</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {differences(from, to).map((setting) => (
            <Table.Tr key={setting.name}>
              <Table.Th scope="row" fw={500}>
                {setting.label}
              </Table.Th>
              <Table.Td>{valueText(setting, from)}</Table.Td>
              <Table.Td>
                <strong>{valueText(setting, to)}</strong>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Text size="sm">{summary(to)} Applies to the whole project immediately and is logged.</Text>
    </>
  );
}

interface ConflictProps {
  before: FlatPolicy;
  theirs: FlatPolicy;
  mine: FlatPolicy;
  onResolved: (policy: FlatPolicy) => void;
}

/** Lets the user choose between two changes. At first, the user's own changes are kept, and otherwise those of the other. */
export function Conflict({ before, theirs, mine, onResolved }: ConflictProps) {
  const [merged, setMerged] = useState<FlatPolicy>(() => ({ ...theirs, ...Object.fromEntries(differences(before, mine).map(({ name }) => [name, mine[name]])) }));
  const focused = useFocusOnChange<HTMLDivElement>(true, true); // the button that led here is gone
  return (
    <Stack ref={focused} tabIndex={-1}>
      <Text size="sm">Your changes are not saved yet, and none is lost. Choose which values to keep where your changes and theirs differ.</Text>
      {differences(theirs, mine).map((setting) => (
        <Radio.Group
          key={setting.name}
          label={setting.label}
          description={`Before: ${valueText(setting, before)}`}
          value={merged[setting.name] === mine[setting.name] ? "mine" : "theirs"}
          onChange={(whose) => setMerged({ ...merged, [setting.name]: (whose === "mine" ? mine : theirs)[setting.name] })}
        >
          <Stack gap={6} mt={6}>
            <Radio value="theirs" label={`Theirs: ${valueText(setting, theirs)}`} />
            <Radio value="mine" label={`Yours: ${valueText(setting, mine)}`} />
          </Stack>
        </Radio.Group>
      ))}
      <Group justify="flex-end">
        <Button onClick={() => onResolved(merged)}>Continue</Button>
      </Group>
    </Stack>
  );
}
