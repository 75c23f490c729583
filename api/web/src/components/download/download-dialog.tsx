// The download dialog: choose a format, see what the policy will say, get a link.
import { Modal } from "@mantine/core";
import { useState } from "react";
import type { Schemas } from "../../api/client";
import { Unready } from "../page-states";
import { type Outcome, useFormats, usePolicy } from "../../hooks/formats";
import { DownloadForm } from "./download-form";
import { Link } from "./link";
import { Asked } from "./approval-requested";

interface Props {
  certificate: Schemas["Certificate"];
  opened: boolean;
  close: () => void;
}

export function Download({ certificate, opened, close }: Props) {
  return (
    <Modal opened={opened} onClose={close} title={`Download ${certificate.name}`} size="lg">
      <Steps certificate={certificate} close={close} />
    </Modal>
  );
}

/** The token is told once: what closes the dialog, this goes with, forgets it. */
function Steps({ certificate, close }: Omit<Props, "opened">) {
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [formats, policy] = [useFormats(), usePolicy()];
  if (!formats.data) return <Unready of={formats} />;
  if (!policy.data) return <Unready of={policy} />;
  const all = formats.data.items ?? [];
  if (!outcome) return <DownloadForm certificate={certificate} formats={all} policy={policy.data} done={setOutcome} />;
  if ("pending" in outcome) return <Asked pending={outcome.pending} close={close} />;
  return <Link certificate={certificate} minted={outcome.minted} format={all.find((f) => f.id === outcome.minted.format)} again={() => setOutcome(null)} />;
}
