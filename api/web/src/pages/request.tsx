// One download request: what was asked for, where it stands, and what its
// requester can do now.
import { Alert, Anchor, Breadcrumbs, Button, Paper, Stack, Text, Title } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link as To, useParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { now } from "../hooks/clock";
import { useFormats } from "../hooks/formats";
import { Claim } from "../components/download/claim-form";
import { Link, useUse } from "../components/download/link";
import { CertificateName, Decisions, File, Options, useCertificateName } from "../components/request-details";
import { Facts } from "../components/facts";
import { useRefuge } from "../hooks/focus";
import { Failure, Heading, Unready } from "../components/page-states";
import { requestStates, Status } from "../components/status";
import { Countdown, Time } from "../components/time";
import { Awaited, called } from "../components/awaited-approvers";
import { useMay, useProject } from "../hooks/project";
import { useMe } from "../components/session";

type Request = Schemas["Request"];

export default function RequestPage() {
  const { id: pid } = useProject();
  const { rid = "" } = useParams();
  const found = useQuery({
    queryKey: ["request", pid, rid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/requests/{rid}", { params: { path: { pid, rid } } })),
  });
  if (!found.data) return <Unready of={found} />;
  const r = found.data;
  return (
    <>
      <Breadcrumbs mb="xs">
        <Anchor component={To} to={`/projects/${pid}/requests`}>
          Requests
        </Anchor>
        <Text>{r.filename}</Text>
      </Breadcrumbs>
      <Named request={r} />
      <Stage key={r.id} request={r} />
      <About request={r} />
      {r.approval_id && <Approval aid={r.approval_id} />}
    </>
  );
}

function Named({ request: r }: { request: Request }) {
  return <Heading actions={<Ending request={r} />}>{`${r.filename} of ${useCertificateName(r.certificate_id)}`}</Heading>;
}

/** How the requester, or an admin, ends a request that is not over. */
function Ending({ request: r }: { request: Request }) {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  const mine = r.requester.person === useMe().user.id;
  const admin = useMay("admin");
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
  const cancel = mine && (r.status === "pending_approval" || r.status === "approved");
  const revoke = (mine || admin) && r.status === "issued";
  return (
    <>
      <Status of={r.status} among={requestStates} />
      {(cancel || revoke) && (
        <Button variant="default" color="red" loading={end.isPending} onClick={() => end.mutate()}>
          {cancel ? "Cancel the request" : "Revoke the link"}
        </Button>
      )}
      {end.isError && <Failure error={end.error} />}
    </>
  );
}

/** Where the request stands, in words, and its next step. */
function Stage({ request: r }: { request: Request }) {
  const [minted, setMinted] = useState<Schemas["Minted"] | null>(null);
  const mine = r.requester.person === useMe().user.id;
  const stands = useRefuge<HTMLDivElement>(r.status);
  const format = useFormats().data?.items?.find((f) => f.id === r.format);
  const claimable = mine && (r.status === "approved" || r.status === "issued") && !!r.claim_expires_at && Date.parse(r.claim_expires_at) > now();
  if (minted)
    return (
      <Paper withBorder p="md" mb="md">
        <Link certificate={{ id: r.certificate_id }} minted={minted} format={format} again={claimable ? () => setMinted(null) : undefined} />
      </Paper>
    );
  return (
    <Paper withBorder p="md" mb="md">
      <Stack>
        <div ref={stands} tabIndex={-1} role="status">
          <Said request={r} mine={mine} />
        </div>
        {claimable && <Claim request={r} done={setMinted} />}
      </Stack>
    </Paper>
  );
}

function Said({ request: r, mine }: { request: Request; mine: boolean }) {
  const { id: pid } = useProject();
  const used = useUse(r.certificate_id, r.id);
  switch (r.status) {
    case "pending_approval":
      return (
        <Text>
          It waits for approval. It lapses in <Countdown until={r.approval_expires_at ?? ""} over="0:00" /> unless it is settled before.
        </Text>
      );
    case "approved":
      return (
        <Text>
          It is approved. {mine ? "Fetch" : `${called(r.requester)} can fetch`} the file in the next <Countdown until={r.claim_expires_at ?? ""} over="0:00" />.
        </Text>
      );
    case "issued":
      return (
        <Text>
          A link was made that works once, for <Countdown until={r.expires_at ?? ""} over="0:00" /> more.
          {mine && (r.claim_expires_at ? " It was shown only then. A new one ends the one before." : " It was shown only then: if it is lost, revoke it and ask anew.")}
        </Text>
      );
    case "consumed":
      return (
        <Text>
          The file was downloaded
          {used && (
            <>
              {" "}
              <Time at={used.time} /> from {used.ip}
            </>
          )}
          . The link is used up.
        </Text>
      );
    case "denied":
      return (
        <Alert color="red" variant="light" title="The request was denied">
          {[...(r.explanation ?? []), ...(r.remedies ?? [])].map((line) => (
            <Text key={line} size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
              {line}
            </Text>
          ))}
        </Alert>
      );
    case "expired":
      return <Text>{r.expires_at ? "Nobody used the link in time." : r.claim_expires_at ? "It was approved, but not fetched in time." : "Too few people approved it in time."}</Text>;
    case "cancelled":
      return <Text>{mine ? "You" : called(r.requester)} cancelled the request.</Text>;
  }
  return (
    <Text>
      The link was revoked before anybody used it. <Anchor component={To} to={`/projects/${pid}/certificates/${r.certificate_id}`}>Ask anew</Anchor>
    </Text>
  );
}

function About({ request: r }: { request: Request }) {
  const { id: pid } = useProject();
  const certificate = (
    <Anchor component={To} to={`/projects/${pid}/certificates/${r.certificate_id}`}>
      <CertificateName id={r.certificate_id} />
    </Anchor>
  );
  return (
    <Facts
      of={[
        ["File", <File format={r.format} filename={r.filename} />],
        ["Certificate", certificate],
        ["Options", <Options format={r.format} of={r.options} />],
        ["Reason", r.reason || "None given"],
        ["Asked by", called(r.requester)],
        ["Asked", <Time at={r.created_at} />],
        ...(r.bind_ip ? [["Only for", r.bind_ip] as [string, string]] : []),
      ]}
    />
  );
}

/** Who decided what, and who still has to. */
function Approval({ aid }: { aid: string }) {
  const { id: pid } = useProject();
  const found = useQuery({
    queryKey: ["approval", pid, aid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/approvals/{aid}", { params: { path: { pid, aid } } })),
  });
  if (!found.data) return <Unready of={found} />;
  const a = found.data;
  const decisions = a.decisions ?? [];
  return (
    <Paper withBorder p="md">
      <Title order={2} size="h4" mb="md">
        Approval
      </Title>
      <Decisions of={decisions} />
      {a.status === "pending" && (
        <Text size="sm" mt="md">
          Waits for <Awaited requester={a.requester.person} required={a.required_approvals} decisions={decisions} />
        </Text>
      )}
      <Anchor component={To} to={`/projects/${pid}/approvals/${aid}`} size="sm">
        What approvers see
      </Anchor>
    </Paper>
  );
}
