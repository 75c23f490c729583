// One approval: exactly what would leave, to whom and why, who decided what, and
// the decision.
import { Alert, Anchor, Breadcrumbs, Button, Group, Paper, Stack, Table, Text, Textarea, Title } from "@mantine/core";
import { IconFileCertificate, IconKey } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useParams } from "react-router";
import { answer, api, type Schemas } from "../api/client";
import { CertificateName, Decisions, File, Options } from "../components/request-details";
import { Copied } from "../components/copyable";
import { Facts } from "../components/facts";
import { useRefuge } from "../hooks/focus";
import { Failure, Heading, Unready } from "../components/page-states";
import { approvalStates, requestStates, Status } from "../components/status";
import { Countdown, Time } from "../components/time";
import { Awaited, called } from "../components/awaited-approvers";
import { useMay, useProject } from "../hooks/project";
import { useMe } from "../components/session";
import { Expiry } from "./certificates";

type Approval = Schemas["Approval"];

export default function ApprovalPage() {
  const { id: pid } = useProject();
  const { aid = "" } = useParams();
  const approver = useMay("approver");
  const found = useQuery({
    queryKey: ["approval", pid, aid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/approvals/{aid}", { params: { path: { pid, aid } } })),
  });
  if (!found.data) return <Unready of={found} />;
  const a = found.data;
  return (
    <>
      <Breadcrumbs mb="xs">
        <Anchor component={Link} to={`/projects/${pid}/approvals`}>
          Approvals
        </Anchor>
        <Text>{a.certificate.name}</Text>
      </Breadcrumbs>
      <Heading actions={<Status of={a.status} among={approvalStates} />}>
        {`${a.filename} of ${a.certificate.name}`}
      </Heading>
      <Leaving approval={a} />
      <About approval={a} />
      <Decided key={a.id} approval={a} />
      {approver && <Earlier approval={a} />}
    </>
  );
}

function Leaving({ approval: a }: { approval: Approval }) {
  if (!a.contains_key)
    return (
      <Alert color="blue" variant="light" mb="md" icon={<IconFileCertificate />} title="The private key stays">
        The file holds certificates only, which are no secret.
      </Alert>
    );
  return (
    <Alert color="orange" variant="light" mb="md" icon={<IconKey />} title="The private key leaves the system">
      Whoever has the file can pose as {a.certificate.sans?.join(", ") || a.certificate.subject} until the certificate expires or is revoked.
    </Alert>
  );
}

function About({ approval: a }: { approval: Approval }) {
  const { id: pid } = useProject();
  const c = a.certificate;
  return (
    <Facts
      of={[
        ["Asked by", called(a.requester)],
        ["Reason", <span style={{ whiteSpace: "pre-wrap" }}>{a.reason || "None given"}</span>],
        ["File", <File format={a.format} filename={a.filename} />],
        ["Options", <Options format={a.format} of={a.options} />],
        ["Certificate", <Anchor component={Link} to={`/projects/${pid}/certificates/${c.id}`}>{c.name}</Anchor>],
        ["Subject", c.subject],
        ["Host names", c.sans?.join(", ") || "None"],
        ["Expires", <><Expiry at={c.not_after} /> <Time at={c.not_after} /></>],
        ["SHA-256 fingerprint", <Copied text={c.fingerprint_sha256} what="the fingerprint" />],
        ["Digest of all this", <Copied text={a.digest} what="the digest" />],
        ["Asked", <Time at={a.created_at} />],
        ["Request", <Anchor component={Link} to={`/projects/${pid}/requests/${a.request_id}`}>Show the request</Anchor>],
      ]}
    />
  );
}

function Decided({ approval: a }: { approval: Approval }) {
  const decisions = a.decisions ?? [];
  const heading = useRefuge<HTMLHeadingElement>(a.status + decisions.length);
  return (
    <Paper withBorder p="md" mb="md">
      <Title ref={heading} tabIndex={-1} order={2} size="h4" mb="md">
        Decisions
      </Title>
      <Decisions of={decisions} />
      {a.status === "pending" && <Open approval={a} />}
    </Paper>
  );
}

/** What an approval still needs, and the decision of those who may decide. */
function Open({ approval: a }: { approval: Approval }) {
  const me = useMe();
  const approver = useMay("approver");
  const own = a.requester.person === me.user.id;
  const decided = a.decisions?.some((d) => d.actor.person === me.user.id);
  return (
    <Stack mt="md">
      <Text size="sm">
        Waits for <Awaited requester={a.requester.person} required={a.required_approvals} decisions={a.decisions ?? []} />. It lapses in <Countdown until={a.expires_at} over="0:00" />.
      </Text>
      {approver && own && (
        <Alert color="blue" variant="light" title="You asked for this yourself">
          Somebody else has to decide.
        </Alert>
      )}
      {approver && !own && !decided && <Decide approval={a} />}
    </Stack>
  );
}

function Decide({ approval: a }: { approval: Approval }) {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  const [comment, setComment] = useState("");
  const [unsaid, setUnsaid] = useState(false);
  const decide = useMutation({
    mutationFn: (approve: boolean) => {
      const order = { params: { path: { pid, aid: a.id } }, body: { comment } };
      return answer(approve ? api.POST("/api/v1/projects/{pid}/approvals/{aid}/approve", order) : api.POST("/api/v1/projects/{pid}/approvals/{aid}/deny", order));
    },
    // Also after a refusal: it may have been settled by somebody else.
    onSettled: () => Promise.all(["approval", "approvals", "pending", "request", "requests"].map((key) => queries.invalidateQueries({ queryKey: [key] }))),
  });
  const deny = () => {
    setUnsaid(!comment.trim());
    if (comment.trim()) decide.mutate(false);
  };
  return (
    <Stack>
      <Textarea
        label="Comment"
        description="The requester sees it. A denial needs one."
        autosize
        minRows={2}
        maxLength={2000}
        value={comment}
        error={unsaid && !comment.trim() && "Say why you deny it."}
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

/** What the requester asked for in this project before. */
function Earlier({ approval: a }: { approval: Approval }) {
  const { id: pid } = useProject();
  const found = useQuery({
    queryKey: ["requests", pid, "of", a.requester.person, "before", a.created_at],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/requests", { params: { path: { pid }, query: { requester: a.requester.person, before: a.created_at, limit: 10 } } })),
  });
  if (!found.data) return <Unready of={found} />;
  const earlier = found.data.items?.filter((r) => r.id !== a.request_id) ?? [];
  return (
    <Paper withBorder p="md">
      <Title order={2} size="h4" mb="md">
        What {called(a.requester)} asked for before
      </Title>
      {earlier.length === 0 && <Text size="sm">Nothing: this is the first request in this project.</Text>}
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
                    <Status of={r.status} among={requestStates} />
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
    </Paper>
  );
}
