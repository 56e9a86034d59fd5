import { assert, describe, it } from "@effect/vitest"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import type { SandboxError } from "agent-layers/services/SandboxError"
import { Effect, Exit } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { toReason } from "../../../src/layers/sandbox/internal/confined.ts"
import { noteFigures, rounds, timeLimit } from "../../support/rounds.ts"
import { temporary } from "./subject.ts"

const scratch = temporary("confinement")
const root = path.join(scratch, "root")
const victim = path.join(scratch, "victim")

const session = Effect.flatMap(SandboxUnconfined.make({ root }), (sandbox) => sandbox.create())

const reasonOf = <A>(effect: Effect.Effect<A, SandboxError>) => Effect.map(Effect.flip(effect), ({ reason }) => reason)

/** Swaps `d`, a directory, and a link to the victim's directory, as fast as it can, until the scope closes. */
const swapping = (workspace: string, script: string) =>
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof spawn>>((resume) => {
      const child = spawn(process.execPath, ["-e", `const fs = require("fs"); ${script}`, victim], {
        cwd: workspace,
        stdio: ["ignore", "pipe", "inherit"]
      })
      child.stdout.once("data", () => resume(Effect.succeed(child)))
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null) return resume(Effect.die(new Error("The swapping ended by itself")))
        child.once("close", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )

describe("files of a sandbox, while a command swaps links", () => {
  it.live.skipIf(process.platform !== "linux")("are never those of the host", (test) =>
    Effect.gen(function*() {
      fs.mkdirSync(path.join(victim, "sub"), { recursive: true })
      fs.writeFileSync(path.join(victim, "file"), "HOST")
      fs.writeFileSync(path.join(victim, "sub/file"), "HOST")
      const before = fs.readdirSync(victim, { recursive: true }).toSorted()
      const one = yield* session
      const workspace = path.join(one.state.location, "workspace")
      for (const directory of ["d/sub", "e/sub"]) fs.mkdirSync(path.join(workspace, directory), { recursive: true })
      for (const file of ["d/file", "d/sub/file", "e/file", "e/sub/file"]) {
        fs.writeFileSync(path.join(workspace, file), "INSIDE")
      }
      yield* swapping(
        workspace,
        // A write that comes while "d" is away makes a "d" of its own, which is then in the way.
        `const at = (name) => fs.lstatSync(name, { throwIfNoEntry: false });
         const prepare = () => {
           if (at("real") !== undefined) { fs.rmSync("d", { recursive: true, force: true }); fs.renameSync("real", "d") }
           if (at("link") === undefined) fs.symlinkSync(process.argv[1], "link")
         };
         prepare(); console.log("on");
         for (;;) try {
           fs.renameSync("d", "real"); fs.renameSync("link", "d"); fs.renameSync("d", "link"); fs.renameSync("real", "d")
         } catch { try { prepare() } catch {} }`
      )
      const outcomes = { inside: 0, refused: 0 }
      const count = <A>(effect: Effect.Effect<A, SandboxError>, check: (value: A) => void) =>
        Effect.matchEffect(effect, {
          onSuccess: (value) =>
            Effect.sync(() => {
              check(value)
              outcomes.inside++
            }),
          onFailure: ({ reason }) =>
            Effect.sync(() => {
              assert.include(["OutsideWorkspace", "NotFound", "NotPermitted"], reason._tag, reason.message)
              outcomes.refused++
            })
        })
      const turns = rounds("sandbox-links")
      for (let turn = 0; turn < turns || outcomes.inside <= 20 || outcomes.refused <= 20; turn++) {
        for (const file of ["d/file", "d/sub/file"]) {
          yield* count(one.readFile(file), (bytes) => assert.strictEqual(Buffer.from(bytes).toString(), "INSIDE"))
          yield* count(one.writeFile(file, "INSIDE"), () => {})
        }
        yield* count(one.writeFile(`d/new-${turn}/x`, "x"), () => {})
        yield* count(one.list("d", { isRecursive: true }), () => {})
        yield* count(one.remove(`d/new-${turn}`, { isRecursive: true }), () => {})
        yield* count(one.remove("d/sub/none"), () => {})
        if (turn % 20 === 0) {
          yield* count(one.exec("cat file; true", { cwd: "d" }), ({ stdout }) => assert.notInclude(stdout, "HOST"))
        }
      }
      noteFigures(test, outcomes)
      assert.deepStrictEqual(fs.readdirSync(victim, { recursive: true }).toSorted(), before)
      assert.strictEqual(fs.readFileSync(path.join(victim, "file"), "utf8"), "HOST")
      assert.strictEqual(fs.readFileSync(path.join(victim, "sub/file"), "utf8"), "HOST")
    }), { timeout: timeLimit })

  it.live.skipIf(process.platform !== "linux")(
    "are removed without what a swapped link leads to",
    () =>
      Effect.gen(function*() {
        fs.mkdirSync(path.join(victim, "kept"), { recursive: true })
        for (let index = 0; index < 20; index++) fs.writeFileSync(path.join(victim, `kept/${index}`), "HOST")
        const before = fs.readdirSync(victim, { recursive: true }).toSorted()
        for (let turn = 0; turn < rounds("sandbox-removal"); turn++) {
          yield* Effect.scoped(Effect.gen(function*() {
            const one = yield* session
            const workspace = path.join(one.state.location, "workspace")
            for (let index = 0; index < 200; index++) {
              fs.mkdirSync(path.join(workspace, `t/${index}/kept`), { recursive: true })
            }
            yield* swapping(
              workspace,
              `console.log("on"); for (let i = 0;; i = (i + 1) % 200) { try { fs.renameSync("t/" + i, "t/x");` +
                `fs.symlinkSync(process.argv[1], "t/" + i) } catch {} try { fs.rmSync("t/x", { recursive: true }) } catch {} }`
            )
            yield* Effect.exit(one.remove("t", { isRecursive: true }))
          }))
          assert.deepStrictEqual(fs.readdirSync(victim, { recursive: true }).toSorted(), before)
        }
      }),
    { timeout: timeLimit }
  )
})

describe("files of a sandbox", () => {
  it.live("are neither devices nor sockets", () =>
    Effect.gen(function*() {
      const one = yield* session
      const workspace = path.join(one.state.location, "workspace")
      const server = net.createServer()
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => {
          // The path of a workspace may be longer than the address of a socket can be.
          const short = path.join(scratch, "s")
          server.listen(short, () => {
            fs.renameSync(short, path.join(workspace, "socket"))
            resume(Effect.void)
          })
        }),
        () => Effect.sync(() => server.close())
      )
      const device = (yield* one.exec("mknod device c 1 5")).exitCode === 0
      for (const name of device ? ["socket", "device"] : ["socket"]) {
        assert.strictEqual((yield* reasonOf(one.readFile(name)))._tag, "NotPermitted", name)
        assert.strictEqual((yield* reasonOf(one.writeFile(name, "x")))._tag, "NotPermitted", name)
        assert.strictEqual((yield* reasonOf(one.writeFile(`${name}/x`, "x")))._tag, "NotPermitted", name)
      }
      const kinds = (yield* one.list()).map(({ kind, path }) => `${path} ${kind}`)
      assert.deepStrictEqual(kinds, device ? ["device other", "socket other"] : ["socket other"])
    }))

  it.live("are refused where a name is impossible or a path too deep", () =>
    Effect.gen(function*() {
      const one = yield* session
      assert.strictEqual((yield* reasonOf(one.writeFile("x".repeat(300), "")))._tag, "NotPermitted")
      assert.strictEqual((yield* reasonOf(one.writeFile("a/".repeat(300) + "x", "")))._tag, "LimitExceeded")
    }))

  it.live("are not changed by a write that is interrupted, and none is left of it", () =>
    Effect.gen(function*() {
      const one = yield* session
      yield* one.writeFile("file", "before")
      const large = new Uint8Array(200_000_000)
      const exit = yield* Effect.exit(Effect.timeout(one.writeFile("file", large), "20 millis"))
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(Buffer.from(yield* one.readFile("file")).toString(), "before")
      const place = fs.readdirSync(one.state.location).find((name) => name.startsWith("private"))
      assert.deepStrictEqual(fs.readdirSync(path.join(one.state.location, place!)), ["owner"])
    }))

  it.live("do not hold up other fibers while there are many of them", () =>
    Effect.gen(function*() {
      const source = path.join(scratch, "many")
      for (let directory = 0; directory < 4; directory++) {
        fs.mkdirSync(path.join(source, String(directory)), { recursive: true })
        for (let file = 0; file < 250; file++) fs.writeFileSync(path.join(source, `${directory}/${file}`), "x")
      }
      const sandbox = yield* SandboxUnconfined.make({ root })
      let longest = 0
      const start = performance.now()
      let last = start
      const ticking = setInterval(() => {
        const now = performance.now()
        longest = Math.max(longest, now - last)
        last = now
      }, 1)
      const one = yield* sandbox.create({ directories: [{ source }] })
      assert.lengthOf(yield* one.list("", { isRecursive: true }), 4 * 251)
      yield* one.remove("0", { isRecursive: true })
      clearInterval(ticking)
      // Far below what all of it takes, which a busy machine stretches as well.
      assert.isBelow(longest, Math.max(250, (performance.now() - start) / 3))
    }))

  it("whose failure may pass are worth another try", () => {
    const failed = (code: string) => toReason(undefined, "a", Object.assign(new Error(code), { code }))
    assert.isTrue(failed("EMFILE").isRetryable)
    assert.isFalse(failed("ENOSPC").isRetryable)
    assert.strictEqual(failed("ENOSPC")._tag, "FileSystemFailed")
    assert.strictEqual(failed("EROFS")._tag, "NotPermitted")
    assert.strictEqual(failed("ENOENT")._tag, "NotFound")
  })
})
