import { assert, describe, it } from "@effect/vitest"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import * as SandboxLaws from "agent-layers/services/laws/SandboxLaws"
import * as Sandbox from "agent-layers/services/Sandbox"
import { Config, ConfigProvider, Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { describeLaws } from "../../support/laws.ts"
import { childOfHost, localSubject, temporary } from "./subject.ts"

const isLinux = process.platform === "linux"
const claims = SandboxLaws.all.map((law) => law.name).filter((name) =>
  /^(fileSystem|network|environment|processes|memory|cpu|kernel|identity):/.test(name)
)
const subject = localSubject("unconfined", SandboxUnconfined.guarantees, (root) => SandboxUnconfined.make({ root }))

describeLaws("SandboxUnconfined", SandboxLaws.all, subject, { notShown: claims })

describe("SandboxUnconfined", () => {
  const root = path.join(temporary("unconfined-own"), "root")
  const session = (options: SandboxUnconfined.Options = {}, manifest?: Sandbox.Manifest) =>
    Effect.flatMap(SandboxUnconfined.make({ root, ...options }), (sandbox) => sandbox.create(manifest))

  it.live("left nothing behind after its laws", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* subject.workspaces!, 0)
    }))

  it.live("claims nothing, and indeed: a command reads the host's files and reaches its network", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(Object.values(SandboxUnconfined.guarantees), Array.from({ length: 8 }, () => false))
      const { exec } = yield* session()
      const { connect, file, pid, variable } = subject.host!
      assert.strictEqual((yield* exec(["cat", file!.path])).stdout, file!.content)
      assert.strictEqual((yield* exec(["touch", path.join(path.dirname(file!.path), "touched")])).exitCode, 0)
      assert.isNotEmpty(connect!)
      for (const line of connect!) assert.strictEqual((yield* exec(line)).exitCode, 0, line)
      assert.strictEqual((yield* exec(`kill -0 ${pid}`)).exitCode, 0)
      // The host's variables are not handed on, but /proc has those that the host process was started with.
      assert.strictEqual((yield* exec(["printenv", variable!.name])).stdout, "")
      if (isLinux) {
        const started = fs.readFileSync("/proc/self/environ", "utf8").split("\0")[0]!
        assert.include((yield* exec("cat /proc/$PPID/environ")).stdout, started)
      }
    }))

  it.live.skipIf(!isLinux)("and a process that hides outlives its command", () =>
    Effect.gen(function*() {
      const { exec, readFile } = yield* session()
      const result = yield* exec(
        "env -i setsid sh -c 'echo $$ > pid; sleep 60' > /dev/null 2>&1 & while [ ! -s pid ]; do sleep 0.02; done"
      )
      assert.strictEqual(result.exitCode, 0)
      const pid = Number(Buffer.from(yield* readFile("pid")).toString())
      process.kill(pid, 0)
      process.kill(-pid, "SIGKILL")
    }))

  it.live("has an environment of its own", () =>
    Effect.gen(function*() {
      const { exec, root } = yield* session({ path: ["/opt/tools"] }, { environment: { GIVEN: "1" } })
      const names = (yield* exec("env")).stdout.trim().split("\n").filter((line) =>
        !/^(PWD|OLDPWD|SHLVL|_|AGENT_LAYERS_COMMAND)=/.test(line)
      )
      assert.deepStrictEqual(names.toSorted(), [
        "GIVEN=1",
        `HOME=${root}`,
        "LANG=C.UTF-8",
        "PATH=/opt/tools:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
      ])
    }))

  it.live.skipIf(!isLinux)(
    "passes on no descriptor that the host process was started with",
    () =>
      Effect.gen(function*() {
        const out = yield* childOfHost("unconfined", root, "ls -l /proc/self/fd; cat /proc/self/fd/20/secret.txt", true)
        assert.match(out, / 20 -> \/dev\/null/)
        assert.notInclude(out, "host-file-content")
      })
  )

  it.live("does not wait for a process that hides and holds the output", () =>
    Effect.gen(function*() {
      const { exec } = yield* session()
      const result = yield* exec("env -i setsid sh -c 'exec sleep 60' & sleep 0.2; echo $! > pid; echo said")
      assert.strictEqual(result.stdout, "said\n")
      assert.isBelow(result.durationMillis, 20_000)
      yield* exec("kill -9 $(cat pid)")
    }))

  it.live("keeps up with a command that says more than anybody wants to hear", () =>
    Effect.gen(function*() {
      const { exec } = yield* session()
      const before = process.memoryUsage().rss
      const result = yield* exec("head -c 300000000 /dev/zero | tr '\\0' x; echo; echo end")
      assert.strictEqual(result.exitCode, 0)
      assert.isTrue(result.isTruncated && result.stdout.endsWith("\nend\n"))
      assert.isBelow(process.memoryUsage().rss - before, 200_000_000)
    }), { timeout: 240_000 })

  it.live("removes what is hard to remove: without permission, and deeper than paths can say", () =>
    Effect.gen(function*() {
      const sandbox = yield* SandboxUnconfined.make({ root })
      yield* Effect.scoped(Effect.gen(function*() {
        const { exec, list, remove } = yield* sandbox.create()
        const script = `const fs = require("fs"); const name = "d".repeat(100);
          for (let i = 0; i < 300; i++) { fs.mkdirSync(name); process.chdir(name) }; fs.writeFileSync("f", "")`
        const deep = [process.execPath, "-e", script] as const
        const made = yield* exec(deep)
        assert.strictEqual(made.stderr, "")
        yield* exec("mkdir -p no/way/in; touch no/way/in/file; chmod 000 no/way/in no/way no")
        const { reason } = yield* Effect.flip(list("d".repeat(100), { isRecursive: true }))
        assert.strictEqual(reason._tag, "LimitExceeded")
        yield* remove("d".repeat(100), { isRecursive: true })
        assert.deepStrictEqual((yield* list()).map((entry) => entry.path), ["no"])
        yield* exec(deep)
      }))
      assert.deepStrictEqual(fs.readdirSync(root), [])
    }))

  it.live("handles names that are not UTF-8", () =>
    Effect.gen(function*() {
      const { exec, list, remove } = yield* session()
      yield* exec(`mkdir a; : > "$(printf 'a/\\377')"`)
      assert.deepStrictEqual((yield* list("a")).map((entry) => entry.path), isLinux ? ["a/\\xff"] : [])
      yield* remove("a", { isRecursive: true })
      assert.deepStrictEqual(yield* list(), [])
    }))

  it.live.skipIf(!isLinux)(
    "copies names that are not UTF-8, and excludes them as listings have them",
    () =>
      Effect.gen(function*() {
        const source = path.join(path.dirname(root), "copied")
        const made = (...bytes: ReadonlyArray<number>) => Buffer.concat([Buffer.from(`${source}/`), Buffer.from(bytes)])
        fs.mkdirSync(source)
        fs.mkdirSync(made(0x64, 0xff))
        fs.writeFileSync(made(0x64, 0xff, 0x2f, 0xfe), "copied")
        fs.writeFileSync(made(0x6e, 0xff), "excluded")
        const { exec, list, readFile } = yield* session({}, { directories: [{ source, exclude: ["n\\xff"] }] })
        const paths = (yield* list("", { isRecursive: true })).map((entry) => entry.path)
        assert.deepStrictEqual(paths, ["d\\xff", "d\\xff/\\xfe"])
        assert.strictEqual(Buffer.from(yield* readFile("d\\xff/\\xfe")).toString(), "copied")
        assert.strictEqual((yield* exec(`cat "$(printf 'd\\377/\\376')"`)).stdout, "copied")
      })
  )

  it.live("fails where the workspace was removed by somebody else, and closes all the same", () =>
    Effect.gen(function*() {
      const { exec, list, readFile, remove, state, writeFile } = yield* session({}, { files: { a: "x" } })
      fs.rmSync(path.join(state.location, "workspace"), { recursive: true })
      const operations: Record<string, Effect.Effect<unknown, { readonly reason: { readonly _tag: string } }>> = {
        exec: exec("true"),
        list: list(),
        readFile: readFile("a"),
        remove: remove("a"),
        writeFile: writeFile("b", "x")
      }
      for (const [name, operation] of Object.entries(operations)) {
        assert.strictEqual((yield* Effect.flip(operation)).reason._tag, "FileSystemFailed", name)
      }
    }))

  it.live("needs a root that it can write to", () =>
    Effect.gen(function*() {
      const file = path.join(path.dirname(root), "file")
      fs.writeFileSync(file, "")
      for (const where of [file, path.join(file, "below"), "/proc/none"]) {
        const { operation, reason } = yield* Effect.flip(SandboxUnconfined.make({ root: where }))
        assert.deepStrictEqual([operation, reason._tag], ["open", "Unavailable"])
        assert.match(reason.message, /Pass as root a directory/)
      }
    }))

  it.effect("runs commands where the clock is a test's", () =>
    Effect.gen(function*() {
      const { exec } = yield* session()
      const result = yield* exec("sleep 0.1; echo done; sleep 60 &", { timeout: "1 minute" })
      assert.deepStrictEqual([result.stdout, result.durationMillis], ["done\n", 0])
    }))

  it.live("is a Layer, with options or with settings", () =>
    Effect.gen(function*() {
      const echo = Sandbox.SandboxSession.use((one) => one.exec("echo from a layer")).pipe(
        Effect.map(({ stdout }) => stdout)
      )
      const { layer, layerConfig } = SandboxUnconfined
      const configured = layerConfig({ root: Config.String("ROOT") }).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ ROOT: root })))
      )
      for (const sandbox of [layer({ root }), configured]) {
        const stdout = yield* echo.pipe(Effect.provide(Sandbox.layerSession().pipe(Layer.provide(sandbox))))
        assert.strictEqual(stdout, "from a layer\n")
      }
      assert.deepStrictEqual(fs.readdirSync(root), [])
    }))
})
