// The certificate policy: what may be downloaded, by whose leave and how.
import { Alert } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Heading, Unready } from "../components/page-states";
import { PolicyEditor, readPolicy } from "./policy/editor";
import { SettingTable } from "./policy/setting-inputs";
import { effect } from "./policy/settings";
import { useMay, useProject } from "../hooks/project";

export default function Policy() {
  const { id: pid } = useProject();
  const admin = useMay("admin");
  const found = useQuery({ queryKey: ["policy", pid, "version"], queryFn: () => readPolicy(pid) });
  if (!found.data) return <Unready of={found} />; // a draft outlives what fails behind it
  return (
    <>
      <Heading>Certificate policy</Heading>
      {admin ? (
        <PolicyEditor now={found.data} />
      ) : (
        <>
          <Alert variant="light" mb="md" title={effect(found.data.policy)}>
            Administrators of the project change the policy.
          </Alert>
          <SettingTable policy={found.data.policy} />
        </>
      )}
    </>
  );
}
