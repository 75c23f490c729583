// What was requested, and how approvers decided on it.
import { Group, List, Text, Timeline } from "@mantine/core";
import { IconCheck, IconX } from "@tabler/icons-react";
import type { Schemas } from "../api/client";
import { useCertificateName } from "../hooks/certificates";
import { optionsOf, useFormat } from "../hooks/formats";
import { displayName } from "../hooks/members";
import { KeyMark } from "./key-mark";
import { Time } from "./time";

export function File({ format, filename }: { format: string; filename: string }) {
  return (
    <Group gap="xs">
      {filename}
      {useFormat(format)?.contains_key && <KeyMark />}
    </Group>
  );
}

export function Options({ format, values }: { format: string; values: Record<string, unknown> }) {
  const found = useFormat(format);
  const known = found ? optionsOf(found) : [];
  if (Object.keys(values).length === 0) return <>None</>;
  return (
    <List size="sm" listStyleType="none">
      {Object.entries(values).map(([name, value]) => (
        <List.Item key={name}>
          {known.find((o) => o.name === name)?.title ?? name}: {value === true ? "yes" : value === false ? "no" : String(value)}
        </List.Item>
      ))}
    </List>
  );
}

export function CertificateName({ id }: { id: string }) {
  return <>{useCertificateName(id)}</>;
}

export function Decisions({ decisions }: { decisions: Schemas["Decision"][] }) {
  if (decisions.length === 0) return <Text size="sm">Nobody has decided yet.</Text>;
  return (
    <Timeline bulletSize={22} lineWidth={2}>
      {decisions.map((d) => (
        <Timeline.Item
          key={d.actor.person}
          title={`${displayName(d.actor)} ${d.decision === "approve" ? "approved" : "denied"} it${d.void ? " and may no longer decide: this does not count" : ""}`}
          bullet={d.decision === "approve" ? <IconCheck size={14} /> : <IconX size={14} />}
        >
          {d.comment && (
            <Text size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
              {d.comment}
            </Text>
          )}
          <Text size="xs">
            <Time at={d.time} />
          </Text>
        </Timeline.Item>
      ))}
    </Timeline>
  );
}
