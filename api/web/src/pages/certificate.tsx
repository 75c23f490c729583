// One certificate: its facts, its timeline, and Download.
import { Anchor, Badge, Breadcrumbs, Button, Group, List, Paper, Text, Timeline, Title } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearchParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { Download } from "../components/download/download-dialog";
import { Copied } from "../components/copyable";
import { Facts } from "../components/facts";
import { Paged, usePages } from "../components/paged-list";
import { Heading, Unready } from "../components/page-states";
import { Time } from "../components/time";
import { useMay, useProject } from "../hooks/project";
import { Expiry } from "./certificates";

export default function Certificate() {
  const { id: pid } = useProject();
  const { cid = "" } = useParams();
  const [search, setSearch] = useSearchParams();
  const go = useNavigate();
  const operator = useMay("operator");
  const found = useQuery({
    queryKey: ["certificate", pid, cid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/certificates/{cid}", { params: { path: { pid, cid } } })),
  });
  if (!found.data) return <Unready of={found} />;
  const certificate = found.data;
  const download = operator && (
    <Button leftSection={<IconDownload size={18} />} onClick={() => setSearch({ download: "" })}>
      Download
    </Button>
  );
  return (
    <>
      <Breadcrumbs mb="xs">
        <Anchor component={Link} to="../certificates" relative="path" onClick={(event) => (event.preventDefault(), void go(`/projects/${pid}/certificates`))}>
          Certificates
        </Anchor>
        <Text>{certificate.name}</Text>
      </Breadcrumbs>
      <Heading actions={download}>{certificate.name}</Heading>
      <About of={certificate} />
      <Chain of={certificate} />
      <History cid={cid} />
      {operator && <Download certificate={certificate} opened={search.has("download")} close={() => setSearch({}, { replace: true })} />}
    </>
  );
}

function About({ of: c }: { of: Schemas["Certificate"] }) {
  const names = (
    <Group gap={4}>
      {c.sans?.map((name) => (
        <Badge key={name} variant="default" tt="none">
          {name}
        </Badge>
      ))}
    </Group>
  );
  return (
    <Facts
      of={[
        ["Expires", <><Expiry at={c.not_after} /> <Time at={c.not_after} /></>],
        ["Valid from", <Time at={c.not_before} />],
        ["Subject", c.subject],
        ["Host names", names],
        ["Issuer", c.issuer],
        ["Key", `${c.key_algorithm}, ${c.has_private_key ? "private key stored encrypted" : "private key not stored"}`],
        ["Serial", <Copied text={c.serial} what="the serial" />],
        ["SHA-256 fingerprint", <Copied text={c.fingerprint_sha256} what="the fingerprint" />],
      ]}
    />
  );
}

/** What stands above it, up to the root, which is left out. */
function Chain({ of: c }: { of: Schemas["Certificate"] }) {
  const chain = c.chain ?? [];
  return (
    <Paper withBorder p="md" mb="md">
      <Title order={2} size="h4" mb="md">
        Chain
      </Title>
      {chain.length === 0 && <Text size="sm">No intermediate is stored with it.</Text>}
      {chain.length > 0 && (
        <List type="ordered" size="sm">
          {chain.map((above) => (
            <List.Item key={above.fingerprint_sha256}>
              {above.subject}
              <Text size="xs" style={{ overflowWrap: "anywhere" }}>
                Issued by {above.issuer}; expires <Time at={above.not_after} day />; SHA-256 {above.fingerprint_sha256}
              </Text>
            </List.Item>
          ))}
        </List>
      )}
    </Paper>
  );
}

/** What the types of events are called. */
const called: Record<string, string> = {
  "cert.imported": "Imported",
  "cert.downloaded": "Downloaded",
  "download.interrupted": "Download interrupted: the file may not have arrived",
};

function History({ cid }: { cid: string }) {
  const { id: pid } = useProject();
  const events = usePages<Schemas["Event"]>(["events", pid, cid], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/certificates/{cid}/events", { params: { path: { pid, cid }, query: { limit: 20, cursor } } })),
  );
  return (
    <Paper withBorder p="md">
      <Title order={2} size="h4" mb="md">
        Timeline
      </Title>
      <Paged of={events} empty={<Text size="sm">Nothing happened to it yet.</Text>}>
        {(all) => (
          <Timeline bulletSize={14} lineWidth={2}>
            {all.map((event) => (
              <Timeline.Item key={event.id} title={called[event.type] ?? event.type}>
                <Text size="sm">
                  <Time at={event.time} /> by {event.actor.name}
                  {event.format && ` as ${event.format}`}
                  {event.ip && ` from ${event.ip}`}
                </Text>
              </Timeline.Item>
            ))}
          </Timeline>
        )}
      </Paged>
    </Paper>
  );
}
