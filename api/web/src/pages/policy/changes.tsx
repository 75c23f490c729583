// What a change of the policy changes, before it is made; and whose change counts
// where somebody else was faster.
import { Button, Group, Radio, Stack, Table, Text } from "@mantine/core";
import { useState } from "react";
import { differing, effect, type Flat, say } from "./settings";

export function Changes({ from, to }: { from: Flat; to: Flat }) {
  return (
    <>
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Setting</Table.Th>
            <Table.Th>Now</Table.Th>
            <Table.Th>Then</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {differing(from, to).map((setting) => (
            <Table.Tr key={setting.name}>
              <Table.Th scope="row" fw={500}>
                {setting.label}
              </Table.Th>
              <Table.Td>{say(setting, from)}</Table.Td>
              <Table.Td>
                <strong>{say(setting, to)}</strong>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Text size="sm">{effect(to)} It holds for everybody in the project at once, and goes on record.</Text>
    </>
  );
}

interface ConflictProps {
  before: Flat;
  theirs: Flat;
  mine: Flat;
  decided: (policy: Flat) => void;
}

/** Has the person choose between two changes: to begin with, each keeps what only they changed. */
export function Conflict({ before, theirs, mine, decided }: ConflictProps) {
  const [kept, keep] = useState<Flat>(() => ({ ...theirs, ...Object.fromEntries(differing(before, mine).map(({ name }) => [name, mine[name]])) }));
  return (
    <Stack>
      <Text size="sm">Nothing is saved yet, and nothing is lost. Choose what is to hold where your change and theirs differ.</Text>
      {differing(theirs, mine).map((setting) => (
        <Radio.Group
          key={setting.name}
          label={setting.label}
          description={`Before: ${say(setting, before)}`}
          value={kept[setting.name] === mine[setting.name] ? "mine" : "theirs"}
          onChange={(whose) => keep({ ...kept, [setting.name]: (whose === "mine" ? mine : theirs)[setting.name] })}
        >
          <Stack gap={6} mt={6}>
            <Radio value="theirs" label={`Theirs: ${say(setting, theirs)}`} />
            <Radio value="mine" label={`Yours: ${say(setting, mine)}`} />
          </Stack>
        </Radio.Group>
      ))}
      <Group justify="flex-end">
        <Button onClick={() => decided(kept)}>Go on</Button>
      </Group>
    </Stack>
  );
}
