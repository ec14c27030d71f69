import { defineConfig, type ViteUserConfig } from "vitest/config";

const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 600_000,
    hookTimeout: 600_000,
    // Two files run at a time: what a busy machine does late is no failure.
    expect: { poll: { timeout: 30_000 } },
    provide: { fuzzCases: 1_000 },
  },
});

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default config;
