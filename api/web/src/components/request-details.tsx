// What somebody asked for, and who decided what about it.
import { Badge, Group, List, Text, Timeline } from "@mantine/core";
import { IconCheck, IconX } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { optionsOf, useFormats } from "../hooks/formats";
import { called } from "./awaited-approvers";
import { useProject } from "../hooks/project";
import { Time } from "./time";

/** A file, and whether the private key is in it. */
export function File({ format, filename }: { format: string; filename: string }) {
  const found = useFormats().data?.items?.find((f) => f.id === format);
  return (
    <Group gap="xs">
      {filename}
      {found?.contains_key && (
        <Badge variant="dot" color="orange" tt="none" miw="max-content">
          holds the private key
        </Badge>
      )}
    </Group>
  );
}

export function Options({ format, of }: { format: string; of: Record<string, unknown> }) {
  const found = useFormats().data?.items?.find((f) => f.id === format);
  const known = found ? optionsOf(found) : [];
  if (Object.keys(of).length === 0) return <>None</>;
  return (
    <List size="sm" listStyleType="none">
      {Object.entries(of).map(([name, value]) => (
        <List.Item key={name}>
          {known.find((o) => o.name === name)?.title ?? name}: {value === true ? "yes" : value === false ? "no" : String(value)}
        </List.Item>
      ))}
    </List>
  );
}

/** The name of a certificate of which only the id is at hand. */
export function useCertificateName(cid: string): string {
  const { id: pid } = useProject();
  const found = useQuery({
    queryKey: ["certificate", pid, cid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/certificates/{cid}", { params: { path: { pid, cid } } })),
    staleTime: Infinity, // it never changes
  });
  return found.data?.name ?? (found.isError ? cid : "…");
}

export function CertificateName({ id }: { id: string }) {
  return <>{useCertificateName(id)}</>;
}

export function Decisions({ of }: { of: Schemas["Decision"][] }) {
  if (of.length === 0) return <Text size="sm">Nobody has decided yet.</Text>;
  return (
    <Timeline bulletSize={22} lineWidth={2}>
      {of.map((d) => (
        <Timeline.Item
          key={d.actor.person}
          title={`${called(d.actor)} ${d.decision === "approve" ? "approved" : "denied"} it`}
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
