// One certificate: its properties, its timeline, and the download dialog.
import { Button, List, Text, Timeline } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import { useParams, useSearchParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { AltNames } from "../components/alt-names";
import { Copyable } from "../components/copyable";
import { DownloadDialog } from "../components/download/download-dialog";
import { Facts } from "../components/facts";
import { Breadcrumb, Heading, QueryState } from "../components/page-states";
import { PagedList } from "../components/paged-list";
import { Section } from "../components/section";
import { Expiry, Time } from "../components/time";
import { Warnings } from "../components/warnings";
import { useCertificate } from "../hooks/certificates";
import { usePages } from "../hooks/paging";
import { useHasRole, useProject } from "../hooks/project";

export default function Certificate() {
  const { id: pid } = useProject();
  const { cid = "" } = useParams();
  const [search, setSearch] = useSearchParams();
  const operator = useHasRole("operator");
  const query = useCertificate(cid);
  if (!query.data) return <QueryState query={query} />;
  const certificate = query.data;
  const download = operator && (
    <Button leftSection={<IconDownload size={18} />} onClick={() => setSearch({ download: "" })}>
      Download
    </Button>
  );
  return (
    <>
      <Breadcrumb list="Certificates" to={`/projects/${pid}/certificates`} item={certificate.name} />
      <Heading actions={download}>{certificate.name}</Heading>
      <Warnings warnings={certificate.warnings ?? []} />
      <CertificateFacts certificate={certificate} />
      <Chain chain={certificate.chain ?? []} />
      <CertificateTimeline cid={cid} />
      {operator && <DownloadDialog certificate={certificate} opened={search.has("download")} close={() => setSearch({}, { replace: true })} />}
    </>
  );
}

function CertificateFacts({ certificate: c }: { certificate: Schemas["Certificate"] }) {
  return (
    <Facts
      facts={[
        ["Expires", <><Expiry at={c.not_after} /> <Time at={c.not_after} /></>],
        ["Valid from", <Time at={c.not_before} />],
        ["Subject", c.subject],
        ["Alternative names", <AltNames names={c.sans} />],
        ["Issuer", c.issuer],
        ["Key", `${c.key_algorithm}, ${c.has_private_key ? "private key stored encrypted" : "private key not stored"}`],
        ["Serial", <Copyable text={c.serial} what="the serial" />],
        ["SHA-256 fingerprint", <Copyable text={c.fingerprint_sha256} what="the fingerprint" />],
      ]}
    />
  );
}

/** The issuing certificates, without the root. */
function Chain({ chain }: { chain: NonNullable<Schemas["Certificate"]["chain"]> }) {
  return (
    <Section title="Chain">
      {chain.length === 0 && <Text size="sm">No intermediate certificate is stored with it.</Text>}
      {chain.length > 0 && (
        <List type="ordered" size="sm">
          {chain.map((c) => (
            <List.Item key={c.fingerprint_sha256}>
              {c.subject}
              <Text size="xs" style={{ overflowWrap: "anywhere" }}>
                Issued by {c.issuer}; expires <Time at={c.not_after} day />; SHA-256 {c.fingerprint_sha256}
              </Text>
            </List.Item>
          ))}
        </List>
      )}
    </Section>
  );
}

const eventLabels: Record<string, string> = {
  "cert.imported": "Imported",
  "cert.downloaded": "Downloaded",
};

function CertificateTimeline({ cid }: { cid: string }) {
  const { id: pid } = useProject();
  const events = usePages<Schemas["Event"]>(["events", pid, cid], (cursor) =>
    answer(api.GET("/api/v1/projects/{pid}/certificates/{cid}/events", { params: { path: { pid, cid }, query: { limit: 20, cursor } } })),
  );
  return (
    <Section title="Timeline">
      <PagedList query={events} empty={<Text size="sm">No events yet.</Text>}>
        {(all) => (
          <Timeline bulletSize={14} lineWidth={2}>
            {all.map((event) => (
              <Timeline.Item key={event.id} title={eventLabels[event.type] ?? event.type}>
                <Text size="sm">
                  <Time at={event.time} /> by {event.actor.name}
                  {event.format && ` as ${event.format}`}
                  {event.ip && ` from ${event.ip}`}
                </Text>
              </Timeline.Item>
            ))}
          </Timeline>
        )}
      </PagedList>
    </Section>
  );
}
