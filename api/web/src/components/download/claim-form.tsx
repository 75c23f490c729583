// Lets the requester claim an approved download: they set the passphrase where the
// file needs one, and get the link.
import { Button, Group, Stack, Text } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Schemas } from "../../api/client";
import { useFormats } from "../../hooks/formats";
import { usePolicy } from "../../hooks/policy";
import { useProject } from "../../hooks/project";
import { Failure, QueryState } from "../page-states";
import { Passphrase } from "./passphrase";

interface Props {
  request: Schemas["Request"];
  done: (minted: Schemas["Minted"]) => void;
}

export function ClaimForm({ request, done }: Props) {
  const { id: pid } = useProject();
  const queries = useQueryClient();
  const [passphrase, setPassphrase] = useState("");
  const [formats, policy] = [useFormats(), usePolicy()];
  const claim = useMutation({
    gcTime: 0, // the passphrase and the token must not stay in the cache
    mutationFn: () => answer(api.POST("/api/v1/projects/{pid}/requests/{rid}/token", { params: { path: { pid, rid: request.id } }, body: { passphrase } })),
    onSuccess: done,
    onSettled: () => void queries.invalidateQueries({ queryKey: ["request"] }),
  });
  if (!formats.data) return <QueryState query={formats} />;
  if (!policy.data) return <QueryState query={policy} />;
  const needsPassphrase = formats.data.items?.find((f) => f.id === request.format)?.needs_passphrase;
  const minLength = policy.data.min_passphrase_length;
  const tooShort = needsPassphrase && passphrase.length < minLength;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        claim.mutate();
      }}
    >
      <Stack>
        {needsPassphrase && <Passphrase minLength={minLength} value={passphrase} onChange={setPassphrase} />}
        {claim.isError && <Failure error={claim.error} />}
        <Group justify="flex-end">
          {tooShort && <Text size="sm">{`The passphrase needs at least ${minLength} characters.`}</Text>}
          <Button type="submit" loading={claim.isPending} disabled={tooShort}>
            {request.status === "issued" ? "New link" : "Generate download link"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
