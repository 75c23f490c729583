// Shows a list that the server returns in pages, with a button for more.
import { Button } from "@mantine/core";
import type { ReactNode } from "react";
import type { Pages } from "../hooks/paging";
import { QueryState } from "./page-states";

interface Props<T> {
  query: Pages<T>;
  /** Shown when the list has no items. */
  empty: ReactNode;
  children: (items: T[]) => ReactNode;
}

export function PagedList<T>({ query, empty, children }: Props<T>) {
  if (!query.data) return <QueryState query={query} />;
  const items = query.data.pages.flatMap((page) => page.items ?? []);
  return (
    <>
      {items.length > 0 ? children(items) : empty}
      {query.hasNextPage && (
        <Button variant="default" mt="md" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
          Show more
        </Button>
      )}
    </>
  );
}
