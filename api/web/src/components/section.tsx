// A part of a page with a heading of its own.
import { Paper, Title } from "@mantine/core";
import type { ReactNode, Ref } from "react";

export function Section({ title, titleRef, children }: { title: string; titleRef?: Ref<HTMLHeadingElement>; children: ReactNode }) {
  return (
    <Paper withBorder p="md" mb="md">
      <Title ref={titleRef} tabIndex={titleRef ? -1 : undefined} order={2} size="h4" mb="md">
        {title}
      </Title>
      {children}
    </Paper>
  );
}
