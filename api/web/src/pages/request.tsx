// One download request: its state, the requester's next step, and what was requested.
import { Alert, Anchor, Button, Paper, Stack, Text } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { AwaitedApprovers } from "../components/awaited-approvers";
import { ClaimForm } from "../components/download/claim-form";
import { DownloadLink } from "../components/download/link";
import { type Fact, Facts } from "../components/facts";
import { Breadcrumb, Failure, Heading, QueryState } from "../components/page-states";
import { Decisions, File, Options } from "../components/request-details";
import { Section } from "../components/section";
import { requestStates, Status } from "../components/status";
import { Countdown, Time } from "../components/time";
import { useApproval } from "../hooks/approvals";
import { useCertificateName } from "../hooks/certificates";
import { now } from "../hooks/clock";
import { useFocusOnChange } from "../hooks/focus";
import { displayName } from "../hooks/members";
import { useHasRole, useProject } from "../hooks/project";
import { useDownloadEvent, useRequest } from "../hooks/requests";
import { useMe } from "../hooks/session";

type Request = Schemas["Request"];

export default function RequestPage() {
  const { rid = "" } = useParams();
  const query = useRequest(rid);
  if (!query.data) return <QueryState query={query} />;
  return <Content request={query.data} />;
}

function Content({ request: r }: { request: Request }) {
  const { id: pid } = useProject();
  const name = useCertificateName(r.certificate_id);
  const certificatePage = `/projects/${pid}/certificates/${r.certificate_id}`;
  const boundAddress: Fact[] = r.bind_ip ? [["Only from", r.bind_ip]] : [];
  return (
    <>
      <Breadcrumb list="Requests" to={`/projects/${pid}/requests`} item={r.filename} />
      <Heading actions={<EndButton request={r} />}>{`${r.filename} of ${name}`}</Heading>
      <NextStep key={r.id} request={r} />
      <Facts
        facts={[
          ["File", <File format={r.format} filename={r.filename} />],
          ["Certificate", <Anchor component={Link} to={certificatePage}>{name}</Anchor>],
          ["Options", <Options format={r.format} values={r.options} />],
          ["Reason", r.reason || "None given"],
          ["Requester", displayName(r.requester)],
          ["Requested", <Time at={r.created_at} />],
          ...boundAddress,
        ]}
      />
      {r.approval_id && <Approval aid={r.approval_id} />}
    </>
  );
}

/** The state, and the button by which the requester or an admin ends the request. */
function EndButton({ request: r }: { request: Request }) {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  const mine = r.requester.person === useMe().user.id;
  const admin = useHasRole("admin");
  const path = { pid, rid: r.id };
  const end = useMutation({
    mutationFn: () =>
      answer<unknown>(
        r.status === "issued"
          ? api.DELETE("/api/v1/projects/{pid}/requests/{rid}/token", { params: { path } })
          : api.POST("/api/v1/projects/{pid}/requests/{rid}/cancel", { params: { path } }),
      ),
    onSettled: () => void queries.invalidateQueries({ queryKey: ["request"] }),
  });
  const mayCancel = mine && (r.status === "pending_approval" || r.status === "approved");
  const mayRevoke = (mine || admin) && r.status === "issued";
  return (
    <>
      <Status value={r.status} states={requestStates} />
      {(mayCancel || mayRevoke) && (
        <Button variant="default" color="red" loading={end.isPending} onClick={() => end.mutate()}>
          {mayCancel ? "Cancel request" : "Revoke link"}
        </Button>
      )}
      {end.isError && <Failure error={end.error} />}
    </>
  );
}

/** The state of the request in a sentence, and the requester's next step. */
function NextStep({ request: r }: { request: Request }) {
  const [minted, setMinted] = useState<Schemas["Minted"] | null>(null);
  const mine = r.requester.person === useMe().user.id;
  const state = useFocusOnChange<HTMLDivElement>(r.status);
  const claimable = mine && (r.status === "approved" || r.status === "issued") && !!r.claim_expires_at && Date.parse(r.claim_expires_at) > now();
  return (
    <Paper withBorder p="md" mb="md">
      {minted ? (
        <DownloadLink certificateId={r.certificate_id} minted={minted} newLink={claimable ? () => setMinted(null) : undefined} />
      ) : (
        <Stack>
          <div ref={state} tabIndex={-1} role="status">
            <StateSentence request={r} mine={mine} />
          </div>
          {claimable && <ClaimForm request={r} done={setMinted} />}
        </Stack>
      )}
    </Paper>
  );
}

function StateSentence({ request: r, mine }: { request: Request; mine: boolean }) {
  const { id: pid } = useProject();
  const downloaded = useDownloadEvent(r.certificate_id, r.id);
  switch (r.status) {
    case "pending_approval":
      return (
        <Text>
          Waiting for approval. The request expires in <Countdown until={r.approval_expires_at ?? ""} />.
        </Text>
      );
    case "approved":
      return (
        <Text>
          Approved. {mine ? "Generate" : `${displayName(r.requester)} can generate`} the link within <Countdown until={r.claim_expires_at ?? ""} />.
        </Text>
      );
    case "issued":
      return (
        <Text>
          The link works once, for <Countdown until={r.expires_at ?? ""} /> more.
          {mine && ` It was shown only when it was generated. ${r.claim_expires_at ? "If you lost it, generate a new one, which replaces it." : "If you lost it, revoke it and request the file again."}`}
        </Text>
      );
    case "consumed":
      return (
        <Text>
          {r.filename} was downloaded
          {downloaded && (
            <>
              {" "}
              <Time at={downloaded.time} /> from {downloaded.ip}
            </>
          )}
          . The link no longer works.
        </Text>
      );
    case "denied":
      return (
        <Alert color="red" variant="light" title="The request was denied">
          {[...(r.explanation ?? []), ...(r.remedies ?? [])].map((sentence) => (
            <Text key={sentence} size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
              {sentence}
            </Text>
          ))}
        </Alert>
      );
    case "expired":
      return <Text>{r.expires_at ? "The link has expired. Nobody used it." : r.claim_expires_at ? "The request was approved, but no link was generated in time." : "Too few people approved the request in time."}</Text>;
    case "cancelled":
      return <Text>{mine ? "You" : displayName(r.requester)} cancelled the request.</Text>;
    default:
      return (
        <Text>
          The link was revoked. Nobody used it. <Anchor component={Link} to={`/projects/${pid}/certificates/${r.certificate_id}`}>Ask again</Anchor>
        </Text>
      );
  }
}

/** The decisions on the request, and who can still decide. */
function Approval({ aid }: { aid: string }) {
  const { id: pid } = useProject();
  const query = useApproval(aid);
  if (!query.data) return <QueryState query={query} />;
  const a = query.data;
  const decisions = a.decisions ?? [];
  return (
    <Section title="Approval">
      <Decisions decisions={decisions} />
      {a.status === "pending" && (
        <Text size="sm" mt="md">
          Waiting for <AwaitedApprovers requester={a.requester.person} required={a.required_approvals} decisions={decisions} />
        </Text>
      )}
      <Anchor component={Link} to={`/projects/${pid}/approvals/${aid}`} size="sm">
        Open approval
      </Anchor>
    </Section>
  );
}
