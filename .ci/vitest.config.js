import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const root = fileURLToPath(new URL("..", import.meta.url))

// `agent-layers/...` means this checkout's sources, in tests as in the examples.
const conditions = ["agent-layers:source", "node"]

export default defineConfig({
  root,
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["**/node_modules/**", "test/fixtures/**", "test/bench/node_modules/**"],
    environment: "node",
    pool: "forks",
    execArgv: ["--disable-warning=ExperimentalWarning"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ["default"],
    typecheck: {
      // Type tests are a step of `npm run check` (vitest run --typecheck.only); the compiler already reads every file there.
      enabled: false,
      include: ["test/types/**/*.test-d.ts"],
      tsconfig: "./tsconfig.json"
    }
  }
})
