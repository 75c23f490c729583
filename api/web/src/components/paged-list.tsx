// Lists that the server pages: what was read so far, and more on demand.
import { Button } from "@mantine/core";
import { keepPreviousData, useInfiniteQuery, type UseInfiniteQueryResult, type InfiniteData } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Unready } from "./page-states";

interface Page<T> {
  items: T[] | null;
  next_cursor: string | null;
}

type Pages<T> = UseInfiniteQueryResult<InfiniteData<Page<T>>>;

export function usePages<T>(queryKey: unknown[], read: (cursor: string) => Promise<Page<T>>, refetchInterval?: number): Pages<T> {
  return useInfiniteQuery({
    queryKey,
    initialPageParam: "",
    queryFn: ({ pageParam }) => read(pageParam),
    getNextPageParam: (page) => page.next_cursor,
    placeholderData: keepPreviousData,
    refetchInterval,
  });
}

/** Reads a list of which everything is needed at once, such as names to choose from, as far as a page can hold it. */
export async function readAll<T>(read: (cursor: string) => Promise<Page<T>>): Promise<T[]> {
  const all: T[] = [];
  for (let cursor: string | null = ""; cursor !== null && all.length < 5_000; ) {
    const page: Page<T> = await read(cursor);
    all.push(...(page.items ?? []));
    cursor = page.next_cursor;
  }
  return all;
}

/** Shows what was read of a list, or why there is nothing. */
export function Paged<T>({ of, empty, children }: { of: Pages<T>; empty: ReactNode; children: (all: T[]) => ReactNode }) {
  if (!of.data) return <Unready of={of} />;
  const all = of.data.pages.flatMap((page) => page.items ?? []);
  return (
    <>
      {all.length > 0 ? children(all) : empty}
      {of.hasNextPage && (
        <Button variant="default" mt="md" loading={of.isFetchingNextPage} onClick={() => void of.fetchNextPage()}>
          Show more
        </Button>
      )}
    </>
  );
}
