// A button that asks before it does something: for more, or only whether to.
import { Button, Group, Modal, Stack } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useHeadingNext } from "../hooks/focus";
import { Failure } from "./page-states";

interface Props<T> {
  /** What the button says. */
  label: string;
  /** What it is called where several say the same. */
  name?: string;
  title: string;
  /** What the button that does it says. */
  action: string;
  danger?: boolean;
  /** In a table's row. */
  small?: boolean;
  icon?: ReactNode;
  /** Does it, with what was filled in. */
  run: (form: FormData) => Promise<T>;
  done?: (result: T) => void;
  /** What is shown of the result, until the person closes it. */
  result?: (result: T) => ReactNode;
  children: ReactNode;
}

export function Dialog<T>({ label, name, small, icon, danger, ...rest }: Props<T>) {
  const [opened, dialog] = useDisclosure();
  useHeadingNext();
  return (
    <>
      <Button variant={small ? "default" : "filled"} size={small ? "xs" : "sm"} leftSection={icon} aria-label={name} onClick={dialog.open}>
        {label}
      </Button>
      <Content {...rest} danger={danger} opened={opened} close={dialog.close} />
    </>
  );
}

type ContentProps<T> = Omit<Props<T>, "label" | "name" | "small" | "icon"> & { opened: boolean; close: () => void };

function Content<T>({ title, action, danger, run, done, result, children, opened, close }: ContentProps<T>) {
  const doing = useMutation({
    mutationFn: run,
    gcTime: 0, // what was filled in may be a secret
    onSuccess: (got) => {
      done?.(got);
      if (!result) close();
    },
  });
  return (
    <Modal opened={opened} onClose={() => doing.isPending || close()} onExitTransitionEnd={doing.reset} title={title}>
      {result && doing.isSuccess ? (
        <Stack>
          {result(doing.data)}
          <Group justify="flex-end">
            <Button onClick={close}>Done</Button>
          </Group>
        </Stack>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            doing.mutate(new FormData(event.currentTarget));
          }}
        >
          <Stack>
            {children}
            {doing.isError && <Failure error={doing.error} />}
            <Group justify="flex-end">
              <Button variant="default" disabled={doing.isPending} onClick={close}>
                Cancel
              </Button>
              <Button type="submit" color={danger ? "red" : undefined} loading={doing.isPending}>
                {action}
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  );
}

/** What was filled in as text. */
export function text(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === "string" ? value.trim() : "";
}
