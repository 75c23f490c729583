// The download dialog: the user chooses a format, sees the policy's verdict, and gets
// a link or requests approval.
import { Modal } from "@mantine/core";
import { useState } from "react";
import type { Schemas } from "../../api/client";
import { useFormats } from "../../hooks/formats";
import { usePolicy } from "../../hooks/policy";
import { QueryState } from "../page-states";
import { ApprovalRequested } from "./approval-requested";
import type { Outcome } from "./choice";
import { DownloadForm } from "./download-form";
import { DownloadLink } from "./link";

interface Props {
  certificate: Schemas["Certificate"];
  opened: boolean;
  close: () => void;
}

export function DownloadDialog({ certificate, opened, close }: Props) {
  return (
    <Modal opened={opened} onClose={close} title={`Download ${certificate.name}`} size="lg">
      <Steps certificate={certificate} close={close} />
    </Modal>
  );
}

/** Holds the token, which is shown only once: closing the dialog removes this component and so forgets it. */
function Steps({ certificate, close }: Omit<Props, "opened">) {
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [formats, policy] = [useFormats(), usePolicy()];
  if (!formats.data) return <QueryState query={formats} />;
  if (!policy.data) return <QueryState query={policy} />;
  if (!outcome) return <DownloadForm certificate={certificate} formats={formats.data.items ?? []} policy={policy.data} done={setOutcome} />;
  if ("pending" in outcome) return <ApprovalRequested pending={outcome.pending} close={close} />;
  return <DownloadLink certificateId={certificate.id} minted={outcome.minted} newLink={() => setOutcome(null)} />;
}
