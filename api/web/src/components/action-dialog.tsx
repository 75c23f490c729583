// A button that opens a dialog, which asks for input or for confirmation before the
// action runs.
import { Button, Group, Modal, Stack } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useFocusHeadingOnUnmount, useFocusOnChange } from "../hooks/focus";
import { Failure } from "./page-states";

interface Props<T> {
  /** The text of the button that opens the dialog. */
  label: string;
  /** The button's accessible name, where several buttons have the same text. */
  name?: string;
  title: string;
  /** The text of the button that runs the action. */
  action: string;
  danger?: boolean;
  /** For a button in a table row. */
  small?: boolean;
  /** Runs the action with what was filled in. */
  run: (form: FormData) => Promise<T>;
  done?: (result: T) => void;
  /** Shows the result until the user closes the dialog. */
  result?: (result: T) => ReactNode;
  children: ReactNode;
}

export function ActionDialog<T>({ label, name, small, ...rest }: Props<T>) {
  const [opened, dialog] = useDisclosure();
  useFocusHeadingOnUnmount();
  return (
    <>
      <Button variant={small ? "default" : "filled"} size={small ? "xs" : "sm"} aria-label={name} onClick={dialog.open}>
        {label}
      </Button>
      <Content {...rest} opened={opened} close={dialog.close} />
    </>
  );
}

type ContentProps<T> = Omit<Props<T>, "label" | "name" | "small"> & { opened: boolean; close: () => void };

function Content<T>({ title, action, danger, run, done, result, children, opened, close }: ContentProps<T>) {
  const mutation = useMutation({
    mutationFn: run,
    gcTime: 0, // what was filled in may be a secret, which must not stay in the cache
    onSuccess: (data) => {
      done?.(data);
      if (!result) close();
    },
  });
  return (
    <Modal opened={opened} onClose={() => mutation.isPending || close()} onExitTransitionEnd={mutation.reset} title={title}>
      {result && mutation.isSuccess ? (
        <Result close={close}>{result(mutation.data)}</Result>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            mutation.mutate(new FormData(event.currentTarget));
          }}
        >
          <Stack>
            {children}
            {mutation.isError && <Failure error={mutation.error} />}
            <Group justify="flex-end">
              <Button variant="default" disabled={mutation.isPending} onClick={close}>
                Cancel
              </Button>
              <Button type="submit" color={danger ? "red" : undefined} loading={mutation.isPending}>
                {action}
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  );
}

/** Shows the result in place of the form, whose focused button is gone. */
function Result({ close, children }: { close: () => void; children: ReactNode }) {
  const focused = useFocusOnChange<HTMLDivElement>(true, true);
  return (
    <Stack ref={focused} tabIndex={-1}>
      {children}
      <Group justify="flex-end">
        <Button onClick={close}>Done</Button>
      </Group>
    </Stack>
  );
}

/** Returns a field of the form as text, without spaces around it. */
export function fieldText(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === "string" ? value.trim() : "";
}
