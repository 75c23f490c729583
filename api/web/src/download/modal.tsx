// The download dialog: choose a format, see what the policy will say, get a link.
import { Modal } from "@mantine/core";
import { useState } from "react";
import type { Schemas } from "../api/client";
import { Unready } from "../parts/states";
import { type Outcome, useFormats, usePolicy } from "./choice";
import { DownloadForm } from "./form";
import { Link } from "./link";
import { Asked } from "./asked";

interface Props {
  certificate: Schemas["Certificate"];
  opened: boolean;
  close: () => void;
}

export function Download({ certificate, opened, close }: Props) {
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [formats, policy] = [useFormats(opened), usePolicy(opened)];
  const shut = () => {
    setOutcome(null); // the token is told once: closing forgets it
    close();
  };
  return (
    <Modal opened={opened} onClose={shut} title={`Download ${certificate.name}`} size="lg" closeOnClickOutside={!outcome} keepMounted={false} closeButtonProps={{ "aria-label": "Close" }}>
      {!formats.data ? (
        <Unready of={formats} />
      ) : !policy.data ? (
        <Unready of={policy} />
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
