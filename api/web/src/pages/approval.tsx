// One approval: exactly which file would leave, who requested it and why, the
// decisions so far, and the form to decide.
import { Alert, Anchor, Button, Group, Stack, Table, Text, Textarea } from "@mantine/core";
import { IconFileCertificate, IconKey } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { AltNames } from "../components/alt-names";
import { AwaitedApprovers } from "../components/awaited-approvers";
import { Copyable } from "../components/copyable";
import { Facts } from "../components/facts";
import { Breadcrumb, Failure, Heading, QueryState } from "../components/page-states";
import { CertificateName, Decisions, File, Options } from "../components/request-details";
import { Section } from "../components/section";
import { Warnings } from "../components/warnings";
import { approvalStates, requestStates, Status } from "../components/status";
import { Countdown, Expiry, Time } from "../components/time";
import { useApproval } from "../hooks/approvals";
import { useFocusOnChange } from "../hooks/focus";
import { displayName } from "../hooks/members";
import { useHasRole, useProject } from "../hooks/project";
import { useMe } from "../hooks/session";

type Approval = Schemas["Approval"];

export default function ApprovalPage() {
  const { id: pid } = useProject();
  const { aid = "" } = useParams();
  const approver = useHasRole("approver");
  const query = useApproval(aid);
  if (!query.data) return <QueryState query={query} />;
  const a = query.data;
  return (
    <>
      <Breadcrumb list="Approvals" to={`/projects/${pid}/approvals`} item={a.certificate.name} />
      <Heading actions={<Status value={a.status} states={approvalStates} />}>{`${a.filename} of ${a.certificate.name}`}</Heading>
      <KeyWarning approval={a} />
      <Warnings warnings={a.certificate.warnings ?? []} />
      <ApprovalFacts approval={a} />
      <DecisionSection key={a.id} approval={a} />
      {approver && <EarlierRequests approval={a} />}
    </>
  );
}

function KeyWarning({ approval: a }: { approval: Approval }) {
  if (!a.contains_key)
    return (
      <Alert color="blue" variant="light" mb="md" icon={<IconFileCertificate />} title="The file does not contain the private key">
        It contains only certificates, which are public.
      </Alert>
    );
  return (
    <Alert color="orange" variant="light" mb="md" icon={<IconKey />} title="The file contains the private key">
      Whoever has this file can pose as {poses(a.certificate)} until <Time at={a.certificate.not_after} day />, or until the certificate is revoked.
    </Alert>
  );
}

/** The names that the certificate stands for: the first of many, with their number. */
function poses({ sans, subject }: Approval["certificate"]): string {
  const names = sans ?? [];
  if (names.length > 20) return `${names.slice(0, 20).join(", ")} and ${names.length - 20} other names`;
  return names.join(", ") || subject;
}

function ApprovalFacts({ approval: a }: { approval: Approval }) {
  const { id: pid } = useProject();
  const c = a.certificate;
  return (
    <Facts
      facts={[
        ["Requester", displayName(a.requester)],
        ["Reason", <span style={{ whiteSpace: "pre-wrap" }}>{a.reason || "None given"}</span>],
        ["File", <File format={a.format} filename={a.filename} />],
        ["Options", <Options format={a.format} values={a.options} />],
        ["Certificate", <Anchor component={Link} to={`/projects/${pid}/certificates/${c.id}`}>{c.name}</Anchor>],
        ["Subject", c.subject],
        ["Issuer", c.issuer],
        ["Alternative names", <AltNames names={c.sans} />],
        ["Expires", <><Expiry at={c.not_after} /> <Time at={c.not_after} /></>],
        ["SHA-256 fingerprint", <Copyable text={c.fingerprint_sha256} what="the fingerprint" />],
        ["Request digest", <Copyable text={a.digest} what="the digest" />],
        ["Requested", <Time at={a.created_at} />],
        ["Request", <Anchor component={Link} to={`/projects/${pid}/requests/${a.request_id}`}>Open request</Anchor>],
      ]}
    />
  );
}

function DecisionSection({ approval: a }: { approval: Approval }) {
  const decisions = a.decisions ?? [];
  const heading = useFocusOnChange<HTMLHeadingElement>(a.status + decisions.length);
  return (
    <Section title="Decisions" titleRef={heading}>
      <Decisions decisions={decisions} />
      {a.status === "pending" && <Pending approval={a} />}
    </Section>
  );
}

/** What a pending approval still needs, and the form for those who may decide. */
function Pending({ approval: a }: { approval: Approval }) {
  const me = useMe();
  const approver = useHasRole("approver");
  const own = a.requester.person === me.user.id;
  const standing = (a.decisions ?? []).filter((d) => !d.void);
  const decided = standing.some((d) => d.actor.person === me.user.id);
  // A role came back after the votes were counted: any approver can have them counted again.
  const complete = standing.length >= a.required_approvals;
  return (
    <Stack mt="md">
      <Text size="sm">
        Waiting for <AwaitedApprovers requester={a.requester.person} required={a.required_approvals} decisions={standing} />. Expires in <Countdown until={a.expires_at} />.
      </Text>
      {approver && own && (
        <Alert color="blue" variant="light" title="This is your own request">
          Someone other than the requester must decide.
        </Alert>
      )}
      {approver && !own && (!decided || complete) && <DecisionForm approval={a} />}
    </Stack>
  );
}

function DecisionForm({ approval: a }: { approval: Approval }) {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  const [comment, setComment] = useState("");
  const [commentMissing, setCommentMissing] = useState(false);
  const decide = useMutation({
    mutationFn: (approve: boolean) => {
      const vote = { params: { path: { pid, aid: a.id } }, body: { comment } };
      return answer(approve ? api.POST("/api/v1/projects/{pid}/approvals/{aid}/approve", vote) : api.POST("/api/v1/projects/{pid}/approvals/{aid}/deny", vote));
    },
    // Also after a failure, because somebody else may have decided meanwhile.
    onSettled: () => Promise.all(["approval", "approvals", "pending", "request", "requests"].map((key) => queries.invalidateQueries({ queryKey: [key] }))),
  });
  const deny = () => {
    setCommentMissing(!comment.trim());
    if (comment.trim()) decide.mutate(false);
  };
  return (
    <Stack>
      <Textarea
        label="Comment"
        description="The requester sees it. Required to deny."
        autosize
        minRows={2}
        maxLength={2000}
        value={comment}
        error={commentMissing && !comment.trim() && "Enter a comment to deny the request."}
        onChange={(event) => setComment(event.currentTarget.value)}
      />
      {decide.isError && <Failure error={decide.error} />}
      <Group justify="flex-end">
        <Button variant="default" loading={decide.isPending && !decide.variables} disabled={decide.isPending} onClick={deny}>
          Deny
        </Button>
        <Button loading={decide.isPending && decide.variables} disabled={decide.isPending} onClick={() => decide.mutate(true)}>
          Approve
        </Button>
      </Group>
    </Stack>
  );
}

function EarlierRequests({ approval: a }: { approval: Approval }) {
  const { id: pid } = useProject();
  const query = useQuery({
    queryKey: ["requests", pid, "of", a.requester.person, "before", a.created_at],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/requests", { params: { path: { pid }, query: { requester: a.requester.person, before: a.created_at, limit: 10 } } })),
  });
  if (!query.data) return <QueryState query={query} />;
  const earlier = query.data.items?.filter((r) => r.id !== a.request_id) ?? [];
  return (
    <Section title={`Earlier requests of ${displayName(a.requester)}`}>
      {earlier.length === 0 && <Text size="sm">None: this is the first request in this project.</Text>}
      {earlier.length > 0 && (
        <Table.ScrollContainer minWidth={480}>
          <Table>
            <Table.Tbody>
              {earlier.map((r) => (
                <Table.Tr key={r.id}>
                  <Table.Td>
                    <Anchor component={Link} to={`/projects/${pid}/requests/${r.id}`}>
                      {r.filename}
                    </Anchor>
                  </Table.Td>
                  <Table.Td>
                    <CertificateName id={r.certificate_id} />
                  </Table.Td>
                  <Table.Td>
                    <Status value={r.status} states={requestStates} />
                  </Table.Td>
                  <Table.Td>
                    <Time at={r.created_at} />
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </Section>
  );
}
