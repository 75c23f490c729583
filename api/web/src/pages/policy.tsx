// The certificate policy of the project, to change or only to read.
import { Alert } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Heading, QueryState } from "../components/page-states";
import { useHasRole, useProject } from "../hooks/project";
import { PolicyEditor, readPolicy } from "./policy/editor";
import { SettingTable } from "./policy/setting-inputs";
import { summary } from "./policy/settings";

export default function Policy() {
  const { id: pid } = useProject();
  const admin = useHasRole("admin");
  const query = useQuery({ queryKey: ["policy", pid, "version"], queryFn: () => readPolicy(pid) });
  if (!query.data) return <QueryState query={query} />; // with data, the draft stays even if reading again fails
  return (
    <>
      <Heading>Certificate Policy</Heading>
      {admin ? (
        <PolicyEditor current={query.data} />
      ) : (
        <>
          <Alert variant="light" mb="md" title={summary(query.data.policy)}>
            Administrators of the project can change the policy.
          </Alert>
          <SettingTable policy={query.data.policy} />
        </>
      )}
    </>
  );
}
