import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The build goes below dist, where the Go package embeds it.
export default defineConfig({
  plugins: [react()],
  build: { outDir: "dist/ui", emptyOutDir: true, assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { "/api": "http://127.0.0.1:8080" } },
});
