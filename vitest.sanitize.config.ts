import { mergeConfig, type ViteUserConfig } from "vitest/config";
import base from "./vitest.config.ts";

// Tests against a build with AddressSanitizer and UndefinedBehaviorSanitizer: npm run test:sanitize.
const config: ViteUserConfig = mergeConfig(base, {
  resolve: {
    alias: [
      {
        find: /^(\.|\.\.\/\.\.\/kernels)\/addon-path\.ts$/,
        replacement: new URL("./test/support/sanitized-addon-path.ts", import.meta.url).pathname,
      },
    ],
  },
  test: { provide: { fuzzCases: 10_000 } },
});

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default config;
