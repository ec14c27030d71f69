import { resolve } from "node:path";
import { defineConfig, type ViteUserConfig } from "vitest/config";

// Comparisons that take minutes: npx vitest run --config test/quantizer/vitest.full.config.ts
const config: ViteUserConfig = defineConfig({
  root: resolve(import.meta.dirname, "../.."),
  test: {
    include: ["test/quantizer/*-full.ts"],
    pool: "forks",
  },
});

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default config;
