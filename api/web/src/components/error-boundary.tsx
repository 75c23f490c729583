// Shows an error in place of a page whose script failed or could not be loaded, for
// example after an upgrade of the server.
import { Component, type ReactNode } from "react";
import { Alert, Button, Stack, Text } from "@mantine/core";

interface Props {
  children: ReactNode;
  /** Names the page: another page is tried after one that failed. */
  page?: string;
}

export class ErrorBoundary extends Component<Props, { failed: boolean }> {
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
          <Text size="sm">Its script failed or could not be loaded. The server may have been upgraded, or it does not answer.</Text>
          <Button size="xs" variant="default" onClick={() => window.location.reload()}>
            Load the page again
          </Button>
        </Stack>
      </Alert>
    );
  }
}
