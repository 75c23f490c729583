// The download dialog: choose a format, see what the policy will say, get a link.
import { Modal } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Schemas } from "../api/client";
import { Failure, Waiting } from "../parts/states";
import { useProject } from "../project";
import { DownloadForm } from "./form";
import { Link } from "./link";
import { Asked } from "./asked";

interface Props {
  certificate: Schemas["Certificate"];
  opened: boolean;
  close: () => void;
}

/** What came of asking: a token, or an approval that is waited for. */
export type Outcome = { minted: Schemas["Minted"] } | { pending: Schemas["Pending"] };

export function Download({ certificate, opened, close }: Props) {
  const { id: pid } = useProject();
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const formats = useQuery({
    queryKey: ["formats", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/formats", { params: { path: { pid }, query: { limit: 200 } } })),
    enabled: opened,
  });
  const policy = useQuery({
    queryKey: ["policy", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/certificate-policy", { params: { path: { pid } } })),
    enabled: opened,
  });
  const shut = () => {
    setOutcome(null); // the token is told once: closing forgets it
    close();
  };
  const failed = formats.error ?? policy.error;
  return (
    <Modal opened={opened} onClose={shut} title={`Download ${certificate.name}`} size="lg" closeOnClickOutside={!outcome} keepMounted={false} closeButtonProps={{ "aria-label": "Close" }}>
      {failed ? (
        <Failure error={failed} retry={() => void (formats.refetch(), policy.refetch())} />
      ) : !formats.data || !policy.data ? (
        <Waiting />
      ) : outcome && "minted" in outcome ? (
        <Link certificate={certificate} minted={outcome.minted} format={formats.data.items?.find((f) => f.id === outcome.minted.format)} again={() => setOutcome(null)} />
      ) : outcome ? (
        <Asked pending={outcome.pending} close={shut} />
      ) : (
        <DownloadForm certificate={certificate} formats={formats.data.items ?? []} policy={policy.data} done={setOutcome} />
      )}
    </Modal>
  );
}
