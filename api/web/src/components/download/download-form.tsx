// The form of the download dialog.
import { Accordion, Button, Checkbox, Group, Radio, Select, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Schemas } from "../../api/client";
import { useFocusOnChange } from "../../hooks/focus";
import { type Format, type Option, optionsOf } from "../../hooks/formats";
import { usePolicyVerdict } from "../../hooks/policy";
import { useProject } from "../../hooks/project";
import { KeyMark } from "../key-mark";
import { Failure } from "../page-states";
import { clearable } from "../theme";
import { type Choice, chosenOptions, emptyChoice, type Outcome, targetChoices } from "./choice";
import { Passphrase } from "./passphrase";
import { PolicyVerdict } from "./policy-verdict";

interface Props {
  certificate: Schemas["Certificate"];
  formats: Format[];
  policy: Schemas["Policy"];
  done: (outcome: Outcome) => void;
}

function useRequestDownload(cid: string, done: (outcome: Outcome) => void) {
  const { id: pid } = useProject();
  return useMutation({
    gcTime: 0, // the passphrase and the token must not stay in the cache
    mutationFn: (body: Schemas["MintBody"]) => answer<unknown>(api.POST("/api/v1/projects/{pid}/certificates/{cid}/downloads", { params: { path: { pid, cid } }, body })),
    onSuccess: (body) => done((body as { status: string }).status === "issued" ? { minted: body as Schemas["Minted"] } : { pending: body as Schemas["Pending"] }),
  });
}

/** Says what the user still has to fill in; empty if nothing is missing. */
function missingInput(choice: Choice, minPassphraseLength: number, needsApproval: boolean): string {
  if (!choice.format) return "Choose a format.";
  if (choice.passphrase.length < minPassphraseLength) return `The passphrase needs at least ${minPassphraseLength} characters.`;
  return needsApproval && !choice.reason.trim() ? "Enter a reason: approvers need it to decide." : "";
}

export function DownloadForm({ certificate, formats, policy, done }: Props) {
  const [choice, setChoice] = useState<Choice>(emptyChoice);
  const change = (part: Partial<Choice>) => setChoice((before) => ({ ...before, ...part }));
  const format = formats.find((f) => f.id === choice.format);
  const options = chosenOptions(choice.options);
  const { verdict, format: evaluatedFormat, error, isCurrent } = usePolicyVerdict(certificate.id, choice.format, options);
  const needsApproval = verdict?.outcome === "approval";
  // With approval, the passphrase is set at the claim. The fields follow the shown verdict, so that none appears and vanishes while the next one loads.
  const needsPassphrase = !needsApproval && !!formats.find((f) => f.id === evaluatedFormat)?.needs_passphrase;
  const missing = missingInput(choice, needsPassphrase ? policy.min_passphrase_length : 0, needsApproval);
  const request = useRequestDownload(certificate.id, done);
  const form = useFocusOnChange<HTMLFormElement>(certificate.id, true);
  const chooseTarget = (value: string | null) => {
    const [formatId = "", targetId = ""] = (value ?? "").split("/");
    const target = formats.find((f) => f.id === formatId)?.targets?.find((t) => t.id === targetId);
    change(target ? { format: formatId, target: value ?? "", options: target.options } : { target: "" });
  };
  return (
    <form
      ref={form}
      tabIndex={-1}
      onSubmit={(event) => {
        event.preventDefault();
        request.mutate({ format: choice.format, options, reason: choice.reason, ...(needsPassphrase ? { passphrase: choice.passphrase } : {}) });
      }}
    >
      <Stack>
        <Select
          label="Where will you import it?"
          description="Sets the format and its options. Leave it empty to choose them yourself."
          searchable
          {...clearable("where you will import it")}
          data={targetChoices(formats)}
          value={choice.target || null}
          onChange={chooseTarget}
        />
        <Formats formats={formats} certificate={certificate} value={choice.format} onChange={(id) => change({ format: id, target: "", options: {} })} />
        {needsPassphrase && <Passphrase minLength={policy.min_passphrase_length} value={choice.passphrase} onChange={(passphrase) => change({ passphrase })} />}
        {format && <AdvancedOptions options={optionsOf(format)} values={choice.options} onChange={(name, value) => change({ options: { ...choice.options, [name]: value } })} />}
        <Textarea
          label="Reason"
          description={`${needsApproval ? "Approvers see it. " : ""}Saved in the audit log.`}
          required={needsApproval}
          autosize
          maxRows={4}
          maxLength={1000}
          value={choice.reason}
          onChange={(event) => change({ reason: event.currentTarget.value })}
        />
        {format && <PolicyVerdict verdict={verdict} error={error} />}
        {request.isError && <Failure error={request.error} />}
        <Group justify="flex-end">
          {verdict?.outcome !== "deny" && <Text size="sm">{missing}</Text>}
          <Button type="submit" loading={request.isPending} disabled={!isCurrent || !!missing || verdict?.outcome === "deny"}>
            {needsApproval ? "Request approval" : "Generate download link"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** The formats without the private key first. */
function Formats({ formats, certificate, value, onChange }: { formats: Format[]; certificate: Schemas["Certificate"]; value: string; onChange: (id: string) => void }) {
  const sorted = [...formats].sort((a, b) => Number(a.contains_key) - Number(b.contains_key));
  return (
    <Radio.Group label="Format" required value={value} onChange={onChange}>
      <Stack gap="xs" mt="xs">
        {sorted.map((f) => (
          <FormatRadio key={f.id} format={f} keyMissing={f.contains_key && !certificate.has_private_key} />
        ))}
      </Stack>
    </Radio.Group>
  );
}

function FormatRadio({ format: f, keyMissing }: { format: Format; keyMissing: boolean }) {
  const running = f.plugin.state === "running" || f.plugin.state === "restarting";
  return (
    <Radio
      value={f.id}
      disabled={keyMissing || !running}
      label={
        <Group gap="xs">
          <Text span fw={500}>
            {f.filename}
          </Text>
          {f.contains_key && <KeyMark />}
        </Group>
      }
      description={keyMissing ? "This certificate is stored without its private key." : !running ? `Not available now: its plugin is ${f.plugin.state}.` : `${f.description} ${f.typical_use}`}
    />
  );
}

function AdvancedOptions({ options, values, onChange }: { options: Option[]; values: Choice["options"]; onChange: (name: string, value: unknown) => void }) {
  if (options.length === 0) return null;
  return (
    <Accordion variant="separated">
      <Accordion.Item value="advanced">
        <Accordion.Control>Advanced options</Accordion.Control>
        <Accordion.Panel>
          <Stack>
            {options.map((o) => (
              <OptionInput key={o.name} option={o} value={values[o.name]} onChange={(value) => onChange(o.name, value)} />
            ))}
          </Stack>
        </Accordion.Panel>
      </Accordion.Item>
    </Accordion>
  );
}

function OptionInput({ option: o, value, onChange }: { option: Option; value: unknown; onChange: (value: unknown) => void }) {
  if (o.kind === "boolean") return <Checkbox label={o.title} description={o.description} checked={value === true} onChange={(event) => onChange(event.currentTarget.checked)} />;
  const text = typeof value === "string" ? value : "";
  if (o.values.length > 0) return <Select label={o.title} description={o.description} data={o.values} {...clearable(o.title)} value={text || null} onChange={(next) => onChange(next ?? "")} />;
  return (
    <TextInput
      label={o.title}
      description={o.description}
      value={text}
      error={text && o.pattern && !o.pattern.test(text) ? "The format does not accept this value." : undefined}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}
