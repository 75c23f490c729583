// The certificate policy, and its verdict on a download that was not requested yet.
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { answer, api } from "../api/client";
import { useProject } from "./project";

export function usePolicy() {
  const { id: pid } = useProject();
  return useQuery({
    queryKey: ["policy", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}/certificate-policy", { params: { path: { pid } } })),
  });
}

/**
 * The policy's verdict on a format with options. The previous verdict stays until
 * the next one arrives: isCurrent tells whether the verdict is for this choice, and
 * format for which format it is.
 */
export function usePolicyVerdict(certificate_id: string, format: string, options: Record<string, unknown>) {
  const { id: pid } = useProject();
  const choice = JSON.stringify([format, options]);
  const [debounced] = useDebouncedValue(choice, 300, { leading: true });
  const query = useQuery({
    queryKey: ["verdict", pid, certificate_id, debounced],
    queryFn: async () => {
      const [format, options] = JSON.parse(debounced) as [string, Record<string, unknown>];
      const verdict = await answer(api.POST("/api/v1/projects/{pid}/certificate-policy/evaluate", { params: { path: { pid } }, body: { certificate_id, format, options } }));
      return { format, verdict };
    },
    enabled: !debounced.startsWith('["",'), // no format is chosen yet
    placeholderData: keepPreviousData,
    staleTime: 0, // the policy may have changed a moment ago
  });
  return { ...query.data, error: query.error, isCurrent: !!query.data && !query.isPlaceholderData && debounced === choice };
}
