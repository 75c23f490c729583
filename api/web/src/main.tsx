// The entry point of the web UI. Continue with app.tsx for the pages and with
// api/client.ts for the requests to the server.
import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router";
import { ProblemError } from "./api/client";
import { App } from "./app";
import { ConnectionLost } from "./components/connection-lost";
import { ErrorBoundary } from "./components/error-boundary";
import { highContrast, theme } from "./components/theme";

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // A request that the server refused would be refused again.
      retry: (failures, error) => failures < 2 && (!(error instanceof ProblemError) || error.status === 0 || error.status >= 500),
    },
  },
});

const nonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content ?? "";
// The library that stops the page from scrolling behind a dialog reads the nonce from here.
Object.assign(window, { __webpack_nonce__: nonce });

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <MantineProvider theme={theme} cssVariablesResolver={highContrast} defaultColorScheme="auto" getStyleNonce={() => nonce}>
      <Notifications position="bottom-right" />
      <QueryClientProvider client={queries}>
        <ConnectionLost />
        <BrowserRouter>
          <ErrorBoundary>
            <App />
          </ErrorBoundary>
        </BrowserRouter>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
