// A download that was approved: its requester gets the link, and sets the
// passphrase where the file needs one.
import { Button, Group, Stack, Text } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Schemas } from "../../api/client";
import { Failure, Unready } from "../page-states";
import { useProject } from "../../hooks/project";
import { useFormats, usePolicy } from "../../hooks/formats";
import { Passphrase } from "./passphrase";

interface Props {
  request: Schemas["Request"];
  done: (minted: Schemas["Minted"]) => void;
}

export function Claim({ request, done }: Props) {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  const [passphrase, setPassphrase] = useState("");
  const [formats, policy] = [useFormats(), usePolicy()];
  const claim = useMutation({
    gcTime: 0, // the passphrase and the token
    mutationFn: () => answer(api.POST("/api/v1/projects/{pid}/requests/{rid}/token", { params: { path: { pid, rid: request.id } }, body: { passphrase } })),
    onSuccess: done,
    onSettled: () => void queries.invalidateQueries({ queryKey: ["request"] }),
  });
  if (!formats.data) return <Unready of={formats} />;
  if (!policy.data) return <Unready of={policy} />;
  const protect = formats.data.items?.find((f) => f.id === request.format)?.needs_passphrase;
  const min = policy.data.min_passphrase_length;
  const tooShort = protect && passphrase.length < min;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        claim.mutate();
      }}
    >
      <Stack>
        {protect && <Passphrase min={min} value={passphrase} onChange={setPassphrase} />}
        {claim.isError && <Failure error={claim.error} />}
        <Group justify="flex-end">
          {tooShort && <Text size="sm">{`The passphrase needs ${min} characters or more.`}</Text>}
          <Button type="submit" loading={claim.isPending} disabled={tooShort}>
            {request.status === "issued" ? "Generate a new link" : "Generate download link"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
