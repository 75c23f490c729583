// The form of the download dialog.
import { Accordion, Badge, Button, Checkbox, Group, Radio, Select, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Schemas } from "../../api/client";
import { useRefuge } from "../../hooks/focus";
import { Failure } from "../page-states";
import { useProject } from "../../hooks/project";
import { clearable } from "../theme";
import { type Choice, chosenOptions, destinations, type Format, nothing, type Option, optionsOf, type Outcome } from "../../hooks/formats";
import { Passphrase } from "./passphrase";
import { Preview, usePreview } from "./policy-verdict";

interface Props {
  certificate: Schemas["Certificate"];
  formats: Format[];
  policy: Schemas["Policy"];
  done: (outcome: Outcome) => void;
}

/** Asks for a download. */
function useMint(cid: string, done: (outcome: Outcome) => void) {
  const { id: pid } = useProject();
  return useMutation({
    gcTime: 0, // the passphrase and the token
    mutationFn: (body: Schemas["MintBody"]) => answer<unknown>(api.POST("/api/v1/projects/{pid}/certificates/{cid}/downloads", { params: { path: { pid, cid } }, body })),
    onSuccess: (body) => done((body as { status: string }).status === "issued" ? { minted: body as Schemas["Minted"] } : { pending: body as Schemas["Pending"] }),
  });
}

/** What the policy says of the choice, and whether it is this choice's already. */
function useVerdict(certificate: Schemas["Certificate"], choice: Choice) {
  const wanted = JSON.stringify([choice.format, chosenOptions(choice)]);
  const [asked] = useDebouncedValue(wanted, 300, { leading: true });
  const [format, options] = JSON.parse(asked) as [string, Record<string, unknown>];
  const preview = usePreview(certificate.id, format, options);
  const verdict = preview.data?.verdict;
  return { preview, verdict, of: preview.data?.format, waits: verdict?.outcome === "approval", known: !!verdict && !preview.isPlaceholderData && asked === wanted };
}

function whatIsMissing(choice: Choice, passphraseLength: number, waits: boolean): string {
  if (!choice.format) return "Choose a format.";
  if (choice.passphrase.length < passphraseLength) return `The passphrase needs ${passphraseLength} characters or more.`;
  return waits && !choice.reason.trim() ? "Say why you need it: approvers decide by it." : "";
}

export function DownloadForm({ certificate, formats, policy, done }: Props) {
  const [choice, setChoice] = useState<Choice>(nothing);
  const change = (part: Partial<Choice>) => setChoice((before) => ({ ...before, ...part }));
  const format = formats.find((f) => f.id === choice.format);
  const { preview, known, verdict, waits, of } = useVerdict(certificate, choice);
  // The passphrase comes with the claim then. Fields go by the verdict that is shown, so that none comes and goes.
  const needsPassphrase = !waits && !!formats.find((f) => f.id === of)?.needs_passphrase;
  const missing = whatIsMissing(choice, needsPassphrase ? policy.min_passphrase_length : 0, waits);
  const mint = useMint(certificate.id, done);
  const form = useRefuge<HTMLFormElement>(certificate.id, true);
  const aim = (value: string | null) => {
    const [id = "", target = ""] = (value ?? "").split("/");
    const found = formats.find((f) => f.id === id)?.targets?.find((t) => t.id === target);
    change(found ? { format: id, target: value ?? "", options: found.options } : { target: "" });
  };
  return (
    <form
      ref={form}
      tabIndex={-1}
      onSubmit={(event) => {
        event.preventDefault();
        mint.mutate({ format: choice.format, options: chosenOptions(choice), reason: choice.reason, ...(needsPassphrase ? { passphrase: choice.passphrase } : {}) });
      }}
    >
      <Stack>
        <Select
          label="Where will you import it?"
          description="Sets format and options. Leave it open to choose them yourself."
          searchable
          {...clearable("where you will import it")}
          data={destinations(formats)}
          value={choice.target || null}
          onChange={aim}
        />
        <Formats formats={formats} certificate={certificate} value={choice.format} pick={(id) => change({ format: id, target: "", options: {} })} />
        {needsPassphrase && <Passphrase min={policy.min_passphrase_length} value={choice.passphrase} onChange={(passphrase) => change({ passphrase })} />}
        {format && <Advanced format={format} options={choice.options} set={(name, value) => change({ options: { ...choice.options, [name]: value } })} />}
        <Textarea
          label="Reason"
          description={waits ? "Approvers see it." : "Goes on record."}
          required={waits}
          autosize
          maxRows={4}
          maxLength={1000}
          value={choice.reason}
          onChange={(event) => change({ reason: event.currentTarget.value })}
        />
        {format && <Preview preview={preview} />}
        {mint.isError && <Failure error={mint.error} />}
        <Group justify="flex-end">
          {verdict?.outcome !== "deny" && <Text size="sm">{missing}</Text>}
          <Button type="submit" loading={mint.isPending} disabled={!known || !!missing || verdict?.outcome === "deny"}>
            {waits ? "Ask for approval" : "Generate download link"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Formats({ formats, certificate, value, pick }: { formats: Format[]; certificate: Schemas["Certificate"]; value: string; pick: (id: string) => void }) {
  const withoutKey = formats.filter((f) => !f.contains_key);
  const withKey = formats.filter((f) => f.contains_key);
  const cards = (some: Format[]) => some.map((f) => <Card key={f.id} format={f} usable={!f.contains_key || certificate.has_private_key} />);
  return (
    <Radio.Group label="Format" required value={value} onChange={pick}>
      <Stack gap="xs" mt="xs">
        {cards(withoutKey)}
        {cards(withKey)}
      </Stack>
    </Radio.Group>
  );
}

function Card({ format: f, usable }: { format: Format; usable: boolean }) {
  const running = f.plugin.state === "running" || f.plugin.state === "restarting";
  return (
    <Radio
      value={f.id}
      disabled={!usable || !running}
      label={
        <Group gap="xs">
          <Text span fw={500}>
            {f.filename}
          </Text>
          {f.contains_key && (
            <Badge size="sm" color="orange" variant="light" tt="none" autoContrast>
              holds the private key
            </Badge>
          )}
        </Group>
      }
      description={!usable ? "This certificate is stored without its private key." : !running ? `Not available now: its plugin is ${f.plugin.state}.` : `${f.description} ${f.typical_use}`}
    />
  );
}

function Advanced({ format, options, set }: { format: Format; options: Choice["options"]; set: (name: string, value: unknown) => void }) {
  const all = optionsOf(format);
  if (all.length === 0) return null;
  return (
    <Accordion variant="separated">
      <Accordion.Item value="advanced">
        <Accordion.Control>Advanced options</Accordion.Control>
        <Accordion.Panel>
          <Stack>
            {all.map((o) => (
              <OptionInput key={o.name} option={o} value={options[o.name]} set={(value) => set(o.name, value)} />
            ))}
          </Stack>
        </Accordion.Panel>
      </Accordion.Item>
    </Accordion>
  );
}

function OptionInput({ option: o, value, set }: { option: Option; value: unknown; set: (value: unknown) => void }) {
  if (o.kind === "boolean") return <Checkbox label={o.title} description={o.description} checked={value === true} onChange={(event) => set(event.currentTarget.checked)} />;
  if (o.values.length > 0) return <Select label={o.title} description={o.description} data={o.values} {...clearable(o.title)} value={typeof value === "string" ? value : null} onChange={(next) => set(next ?? "")} />;
  const text = typeof value === "string" ? value : "";
  return (
    <TextInput
      label={o.title}
      description={o.description}
      value={text}
      error={text && o.pattern && !o.pattern.test(text) ? "This is not a value that the format takes." : undefined}
      onChange={(event) => set(event.currentTarget.value)}
    />
  );
}
