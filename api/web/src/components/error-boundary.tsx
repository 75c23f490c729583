// What stands in a page's place when it cannot be shown: its script could not be
// loaded, as after an upgrade of the server, or it failed.
import { Component, type ReactNode } from "react";
import { Alert, Button, Stack, Text } from "@mantine/core";

interface Props {
  children: ReactNode;
  /** Another page is tried anew. */
  page?: string;
}

export class Boundary extends Component<Props, { failed: boolean }> {
  state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  componentDidUpdate(before: Props) {
    if (before.page !== this.props.page && this.state.failed) this.setState({ failed: false });
  }

  render() {
    if (!this.state.failed) return this.props.children;
    return (
      <Alert color="red" variant="light" role="alert" title="This page cannot be shown" m="md">
        <Stack gap="xs" align="flex-start">
          <Text size="sm">Its script could not be loaded or failed. The server may have been upgraded, or it does not answer.</Text>
          <Button size="xs" variant="default" onClick={() => window.location.reload()}>
            Load the page again
          </Button>
        </Stack>
      </Alert>
    );
  }
}
