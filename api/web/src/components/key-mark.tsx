// Marks a file that contains the private key.
import { Badge } from "@mantine/core";
import { IconKey } from "@tabler/icons-react";

export function KeyMark() {
  return (
    <Badge size="sm" color="orange" variant="light" tt="none" autoContrast miw="max-content" leftSection={<IconKey size={12} />} role="img" aria-label="Contains the private key">
      Private key
    </Badge>
  );
}
