/** The row of the mission that builds and packs the package. */
import { assert, describe, it } from "@effect/vitest"
import * as path from "node:path"
import { expectRun, packed } from "./support/packed.ts"

describe("Distribution", () => {
  it("npm pack: the package holds what its exports name, and no test", async () => {
    const tarball = await packed()
    const { stdout } = await expectRun(path.dirname(tarball), "tar", ["-tzf", path.basename(tarball)])
    const files = stdout.split("\n")
    assert.includeMembers(files, [
      "package/dist/index.js",
      "package/dist/run/extensions/index.js",
      "package/package.json"
    ])
    assert.isFalse(files.some((file) => file.startsWith("package/test/")))
  }, 240_000)
})
