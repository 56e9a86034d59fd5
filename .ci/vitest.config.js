import { availableParallelism } from "node:os"
import path from "node:path"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { BaseSequencer } from "vitest/node"
import { campaigns } from "../test/support/campaigns.ts"
import SummaryReporter from "./summaryReporter.js"

const root = fileURLToPath(new URL("..", import.meta.url))

// `agent-layers/...` means this checkout's sources, in tests as in the examples.
const conditions = ["agent-layers:source", "node"]

// Files start longest first, as vitest has it, after one quick file: whoever waits sees a result at once.
class QuickFirst extends BaseSequencer {
  async sort(files) {
    const sorted = await super.sort(files)
    const quick = sorted.findIndex((file) => file.moduleId.endsWith("/test/package/manifest.test.ts"))
    return quick < 0 ? sorted : [sorted[quick], ...sorted.slice(0, quick), ...sorted.slice(quick + 1)]
  }
}

const everything = ["test/**/*.test.ts", "examples/*.test.ts"]
const long = "**/*.full.test.ts"
const repeating = Object.values(campaigns).filter(({ few }) => few !== undefined).map(({ file }) => file)

// `npm test` leaves out the long files. `npm run test:full`, which is `--mode full`, has those, and the files whose tests
// repeat more often in it; together they are all tests. `--mode all` takes each file that it is told.
const files = {
  test: { include: everything, exclude: [long] },
  full: { include: [`test/${long}`, ...repeating], exclude: [] },
  all: { include: everything, exclude: [] }
}

export default defineConfig(({ mode }) => {
  const { exclude, include } = files[mode] ?? files.test
  return {
    root,
    cacheDir: "node_modules/.vite",
    resolve: { conditions },
    ssr: { resolve: { conditions } },
    test: {
      include,
      exclude: ["**/node_modules/**", "test/fixtures/**", ...exclude],
      environment: "node",
      pool: "forks",
      // A module is loaded once for each worker and not for each file: most of a file's time would go there.
      isolate: false,
      // Many tests wait: for a process to end, for a timeout to pass.
      maxWorkers: availableParallelism() + 2,
      // Tests start many processes from these sources: what Node made of a file is kept for the next one.
      env: {
        NODE_COMPILE_CACHE: path.join(root, "node_modules/.vite/compiled"),
        ...(mode === "full" ? { AGENT_LAYERS_ROUNDS: "many" } : {})
      },
      execArgv: ["--disable-warning=ExperimentalWarning"],
      sequence: { sequencer: QuickFirst },
      // Only a test that hangs takes so long, so that a busy machine makes none fail.
      testTimeout: 120_000,
      hookTimeout: 120_000,
      reporters: [["default", { summary: false }], new SummaryReporter()],
      typecheck: {
        include: ["test/types/**/*.test-d.ts"],
        tsconfig: "./tsconfig.json",
        // Those are what the compiler's own step of `npm run check` reports.
        ignoreSourceErrors: true
      }
    }
  }
})
