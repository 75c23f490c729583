// Lists that the server returns in pages.
import { type InfiniteData, keepPreviousData, useInfiniteQuery, type UseInfiniteQueryResult } from "@tanstack/react-query";

interface Page<T> {
  items: T[] | null;
  next_cursor: string | null;
}

export type Pages<T> = UseInfiniteQueryResult<InfiniteData<Page<T>>>;

/** Reads a list page by page, as the user asks for more. */
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

const readAllLimit = 5_000;

/** Reads every page of a list, for choices that need all names at once; stops after 5,000 items. */
export async function readAll<T>(read: (cursor: string) => Promise<Page<T>>): Promise<T[]> {
  const all: T[] = [];
  for (let cursor: string | null = ""; cursor !== null && all.length < readAllLimit; ) {
    const page: Page<T> = await read(cursor);
    all.push(...(page.items ?? []));
    cursor = page.next_cursor;
  }
  return all;
}
