import { assert, describe, it } from "@effect/vitest"
import * as SandboxBubblewrap from "agent-layers/layers/sandbox/SandboxBubblewrap"
import * as SandboxLaws from "agent-layers/services/laws/SandboxLaws"
import * as Sandbox from "agent-layers/services/Sandbox"
import type { SandboxError } from "agent-layers/services/SandboxError"
import { Config, ConfigProvider, Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { probe } from "../../../src/layers/sandbox/internal/bubblewrap.ts"
import { describeLaws } from "../../support/laws.ts"
import { requires } from "../../support/requires.ts"
import { allowTimeFor, until } from "../../support/until.ts"
import { childOfHost, localSubject, temporary } from "./subject.ts"

const bubblewrap = requires("bubblewrap")
const isLinux = process.platform === "linux"
const isRoot = process.geteuid!() === 0

const unavailable = (effect: Effect.Effect<unknown, SandboxError>) =>
  Effect.map(Effect.flip(effect), ({ operation, reason }) => {
    assert.strictEqual(operation, "open")
    assert.strictEqual(reason._tag, "Unavailable")
    return reason.message
  })

// These need no bubblewrap: what stands in for it says what the real one says where it does not work.
describe("SandboxBubblewrap where bubblewrap does not work", () => {
  const scratch = temporary("fake")
  const fake = (name: string, script: string) => {
    const program = path.join(scratch, name)
    fs.writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    return unavailable(SandboxBubblewrap.make({ program, root: path.join(scratch, "root") }))
  }

  it.live("says how to install it where it is missing", () =>
    Effect.gen(function*() {
      const message = yield* unavailable(SandboxBubblewrap.make({ program: path.join(scratch, "none") }))
      assert.match(message, isLinux ? /apt-get install bubblewrap/ : /needs Linux/)
    }))

  it.live.skipIf(!isLinux)("says which version is needed where it is too old", () =>
    Effect.gen(function*() {
      assert.match(
        yield* fake("old", `echo "bwrap: Unknown option --disable-userns" >&2; exit 1`),
        /0\.8\.0 or newer.*--disable-userns/
      )
    }))

  it.live.skipIf(!isLinux)("says what to allow where namespaces are forbidden", () =>
    Effect.gen(function*() {
      for (
        const said of [
          "bwrap: No permissions to create new namespace, likely because the kernel does not allow it",
          "bwrap: setting up uid map: Permission denied",
          "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted"
        ]
      ) {
        const message = yield* fake("forbidden", `echo "${said}" >&2; exit 1`)
        assert.match(message, /unprivileged_userns_clone.*apparmor.*container/)
        assert.include(message, said)
      }
    }))

  it.live.skipIf(!isLinux)(
    "refuses a program that runs nothing, and one that has no walls",
    () =>
      Effect.gen(function*() {
        assert.match(yield* fake("nothing", "exit 0"), /does not work here/)
        const noWalls = `while [ "$1" != "--" ]; do shift; done; shift; "$@"; echo "{ \\"exit-code\\": $? }" >&3`
        assert.match(yield* fake("no-walls", noWalls), /Commands would see/)
        assert.deepStrictEqual(fs.readdirSync(path.join(scratch, "root")), [])
      })
  )
})

describe.skipIf(!bubblewrap.available)(bubblewrap.title("SandboxBubblewrap"), () => {
  const subject = localSubject("bubblewrap", SandboxBubblewrap.guarantees(), (root) => SandboxBubblewrap.make({ root }))

  describeLaws("SandboxBubblewrap", SandboxLaws.all, subject, {
    notShown: SandboxLaws.all.map((law) => law.name).filter((name) =>
      (isRoot ? /^(memory|cpu):/ : /^(memory|cpu|identity):/).test(name)
    )
  })

  const root = path.join(temporary("bubblewrap-own"), "root")
  const session = (options: SandboxBubblewrap.Options = {}, manifest?: Sandbox.Manifest) =>
    Effect.flatMap(SandboxBubblewrap.make({ root, ...options }), (sandbox) => sandbox.create(manifest))

  it.live("left nothing behind after its laws", () =>
    Effect.map(subject.workspaces!, (count) => assert.strictEqual(count, 0)))

  it.live("shows commands a root that is made for them, where only the workspace and /tmp can be written", () =>
    Effect.gen(function*() {
      const { exec } = yield* session()
      const { stdout } = yield* exec("ls /")
      const expected = ["dev", "etc", "proc", "run", "tmp", "usr", "var", "workspace"]
      for (const name of stdout.trim().split("\n")) {
        assert.include([...expected, "bin", "sbin", "lib", "lib32", "lib64", "libx32"], name)
      }
      for (const directory of ["/", "/usr", "/etc", "/dev", "/run", "/var", "/proc"]) {
        assert.notStrictEqual((yield* exec(`touch ${directory}/x`)).exitCode, 0, directory)
      }
      assert.strictEqual((yield* exec("touch /tmp/x /workspace/x /dev/shm/x; echo > /dev/null")).stderr, "")
      assert.strictEqual((yield* exec("ls /tmp")).stdout, "")
    }))

  it.live("runs commands without capabilities, and lets them make no namespaces", () =>
    Effect.gen(function*() {
      const { exec } = yield* session()
      const { stdout } = yield* exec("grep -E '^(Cap(Eff|Prm|Bnd)|NoNewPrivs)' /proc/self/status; id -u; whoami")
      assert.deepStrictEqual(stdout.trim().split(/\s+/), [
        ...["CapPrm:", "0000000000000000", "CapEff:", "0000000000000000", "CapBnd:", "0000000000000000"],
        ...["NoNewPrivs:", "1", "1000", "sandbox"]
      ])
      const nested = yield* exec("unshare --user --map-root-user true || unshare --user true")
      assert.notStrictEqual(nested.exitCode, 0)
      assert.notStrictEqual((yield* exec("mount -t tmpfs none /tmp")).exitCode, 0)
      assert.notStrictEqual((yield* exec("mknod x c 1 3")).exitCode, 0)
    }))

  it.live("shows variables to the command alone, not to other users of the host", () =>
    Effect.gen(function*() {
      const { exec } = yield* session({}, { environment: { TOKEN: "hunter2-manifest" } })
      const { stdout } = yield* exec("tr '\\0' '\\n' < /proc/1/environ; tr '\\0' ' ' < /proc/1/cmdline; echo; env", {
        environment: { KEY: "hunter2-call" }
      })
      const [first, ...environment] = stdout.trim().split("\n")
      assert.match(first!, /bwrap --args/)
      assert.notInclude(first!, "hunter2")
      assert.deepStrictEqual(environment.toSorted(), [
        "HOME=/workspace",
        "KEY=hunter2-call",
        "LANG=C.UTF-8",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PWD=/workspace",
        "TOKEN=hunter2-manifest"
      ])
    }))

  it.live("passes on no descriptor that the host process was started with", () =>
    Effect.gen(function*() {
      const out = yield* childOfHost("bubblewrap", root, "ls -l /proc/self/fd; cat /proc/self/fd/20/secret.txt", true)
      assert.match(out, / 20 -> \/dev\/null/)
      assert.notInclude(out, "host-file-content")
    }))

  it.live("kills commands when the host process is killed", () =>
    Effect.gen(function*() {
      const location = yield* childOfHost("bubblewrap", root, "while :; do echo x >> beats; sleep 0.05; done", false)
      const beats = path.join(location.trim(), "workspace/beats")
      const size = () => fs.statSync(beats).size
      assert.isAbove(size(), 0)
      // A command that goes on writes every 50 ms, and is never seen at rest.
      const look = Effect.gen(function*() {
        const before = size()
        yield* allowTimeFor("another beat", 1_000)
        return size() - before
      })
      yield* until(look, (grown) => grown === 0)
      fs.rmSync(location.trim(), { recursive: true })
    }))

  it.live("reaches the network where that was asked for, and then does not claim otherwise", () =>
    Effect.gen(function*() {
      const { exec, guarantees } = yield* session({ network: true })
      assert.isFalse(guarantees.network)
      for (const line of subject.host!.connect!) {
        // An abstract socket belongs to the network of the host too.
        assert.strictEqual((yield* exec(line)).exitCode, 0, line)
      }
    }))

  it.live("shows what is bound, read-only unless said otherwise, such as programs outside of /usr", () =>
    Effect.gen(function*() {
      const program = fs.realpathSync(process.execPath)
      const shared = temporaryIn(root, "shared")
      const { exec } = yield* session({
        binds: [
          { source: path.dirname(program), target: "/opt/node" },
          { source: shared },
          { source: shared, target: "/mnt/writable", isWritable: true }
        ],
        path: ["/opt/node"]
      })
      assert.strictEqual((yield* exec(`${path.basename(program)} -p '6 * 7'`)).stdout, "42\n")
      assert.notStrictEqual((yield* exec(["touch", path.join(shared, "x")])).exitCode, 0)
      assert.strictEqual((yield* exec("echo y > /mnt/writable/y")).exitCode, 0)
      assert.strictEqual(fs.readFileSync(path.join(shared, "y"), "utf8"), "y\n")
      const bare = yield* session()
      assert.strictEqual((yield* bare.exec([program, "-p", "1"])).exitCode, 127)
    }))

  it.live("refuses binds that would open the walls, or cannot be made", () =>
    Effect.gen(function*() {
      const bind = (source: string, target?: string) =>
        unavailable(SandboxBubblewrap.make({ root, binds: [{ source, target }] }))
      assert.match(yield* bind("/no/such/source"), /the source is not there/)
      assert.match(yield* bind("relative"), /have to be absolute/)
      assert.match(yield* bind("/", "/host"), /name the directories/)
      for (const target of ["/", "/workspace", "/workspace/in", "/proc/x", "/dev"]) {
        assert.match(yield* bind("/usr", target), /not a place for a bind/)
      }
      assert.match(yield* bind(path.dirname(root)), /do not bind a directory above it/)
    }))

  it.live("bounds each process where limits are given", () =>
    Effect.gen(function*() {
      const { exec } = yield* session({
        limits: { memoryBytes: 100_000_000, cpuSeconds: 1, fileBytes: 1_000_000, openFiles: 32 },
        tmpBytes: 1_048_576
      })
      const memory = yield* exec("dd if=/dev/zero of=/dev/null bs=300M count=1")
      assert.notStrictEqual(memory.exitCode, 0)
      assert.match(memory.stderr, /memory exhausted|out of memory|Cannot allocate/i)
      const time = yield* exec("while :; do :; done", { timeout: "20 seconds" })
      assert.include([137, 152], time.exitCode)
      const file = yield* exec("head -c 5000000 /dev/zero > big; wc -c < big")
      assert.isAtMost(Number(file.stdout), 1_000_000)
      assert.strictEqual((yield* exec("ulimit -n; ulimit -n 1000")).stdout, "32\n")
      const full = yield* exec("head -c 900000 /dev/zero > /tmp/a; head -c 900000 /dev/zero > /tmp/b")
      assert.match(full.stderr, /No space left/)
    }))

  describe("looks at each claim when it is built", () => {
    // Real bubblewrap, of whose words one is changed on the way to it: a case of a shell, by the word before and itself.
    const changed = (name: string, change: string, start = "exec") => {
      const program = path.join(path.dirname(root), `changed-${name}`)
      const loop = `for word; do shift; case "$last $word" in ${change};; esac; last=$word; set -- "$@" "$word"; done`
      fs.writeFileSync(program, `#!/bin/sh\n${loop}\n${start} ${bubblewrap.path} "$@"\n`, { mode: 0o755 })
      return program
    }
    const doubles: Readonly<Record<string, readonly [change: string, seen: RegExp, start?: string]>> = {
      fileSystem: [`*" --") set -- "$@" --bind ${path.dirname(root)} ${path.dirname(root)}`, /Commands would see/],
      kernel: [`"--remount-ro /proc") word=/usr`, /kernel \/proc\/\S+ can be written/],
      "network, by its filter": [`*" --seccomp") word=--sync-fd`, /network no system-call filter/],
      "network, by its interfaces": [`*" --cap-drop") set -- "$@" --share-net`, /network more interfaces/],
      processes: [
        `*" --unshare-all") set -- "$@" --unshare-net --unshare-ipc; word=--unshare-uts;; ` +
        `*" --proc") set -- "$@" --ro-bind /proc; continue`,
        /processes \d+ of them/
      ],
      environment: ["none) word=", /environment LEAKED/, "LEAKED=1 exec"]
    }
    for (const [claim, [change, seen, start]] of Object.entries(doubles)) {
      it.live(claim, () =>
        Effect.gen(function*() {
          const program = changed(claim.replaceAll(/\W+/g, "-"), change, start)
          assert.match(yield* unavailable(SandboxBubblewrap.make({ root, program })), seen)
        }))
    }

    it.live.skipIf(!isRoot)("identity", () =>
      Effect.gen(function*() {
        const sandbox = yield* SandboxBubblewrap.make({ root, user: "host" })
        const claiming = { ...sandbox, guarantees: { ...sandbox.guarantees, identity: true } }
        const { message } = yield* Effect.flip(probe(claiming))
        assert.match(message, /identity \/proc\/\S+ can be read.*identity that of this process/)
      }))

    it.live("and claims neither network nor kernel where the kernel takes no filter", () =>
      Effect.gen(function*() {
        const said =
          "bwrap: Unable to set up system call filtering as requested: prctl(PR_SET_SECCOMP) reported EINVAL."
        const program = changed("unfiltered", `*" --seccomp") echo "${said}" >&2; exit 1`)
        const sandbox = yield* SandboxBubblewrap.make({ root, program })
        const { kernel, network, ...others } = SandboxBubblewrap.guarantees()
        assert.isTrue(kernel && network)
        assert.deepStrictEqual(sandbox.guarantees, { ...others, kernel: false, network: false })
        const { exec } = yield* sandbox.create()
        assert.match((yield* exec("cat /proc/self/status")).stdout, /^Seccomp:\s0$/m)
      }))
  })

  it.live("lets commands debug their own processes where that is asked for", () =>
    Effect.gen(function*() {
      const peek = "perl -MErrno -e 'syscall($ARGV[0], 0x3fffffff, 0, 0, 0); print $!{EPERM} ? 1 : 0' "
      const ptrace = process.arch === "arm64" ? 117 : 101
      for (const debugging of [true, false]) {
        const { exec, guarantees } = yield* session({ debugging })
        assert.isTrue(guarantees.kernel && guarantees.network)
        assert.strictEqual((yield* exec(`${peek} ${ptrace}`)).stdout, debugging ? "0" : "1")
      }
    }))

  describe.skipIf(!isRoot)("started by root", () => {
    const userOf = ({ state }: Sandbox.SandboxSession["Service"], name = "") =>
      fs.statSync(path.join(state.location, "workspace", name)).uid

    it.live("gives each workspace a user and group of the range, which nothing else of it has", () =>
      Effect.gen(function*() {
        const range = { first: 1_900_200_000, last: 1_900_200_007 }
        const sandbox = yield* SandboxBubblewrap.make({ root, users: range })
        const all = yield* Effect.forEach(Array.from({ length: 8 }), () => sandbox.create(), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(
          all.map((one) => userOf(one)).toSorted(),
          Array.from({ length: 8 }, (_, at) => range.first + at)
        )
        const { reason } = yield* Effect.flip(sandbox.create())
        assert.match(reason.message, /No user from 1900200000 to 1900200007 is free/)
        const status = (yield* all[0]!.exec("grep -E '^(Uid|Gid|Groups)' /proc/self/status")).stdout
        assert.match(status, /Uid:\s1000\s1000\s1000\s1000\nGid:\s1000\s1000\s1000\s1000\nGroups:\s*\n/)
      }))

    it.live("gives what the host writes, makes and copies to that user", () =>
      Effect.gen(function*() {
        const source = temporaryIn(root, "given")
        fs.mkdirSync(path.join(source, "sub"))
        fs.writeFileSync(path.join(source, "sub/copied"), "x", { mode: 0o600 })
        const one = yield* session({}, { directories: [{ source, path: "to/here" }], files: { "a/b/file": "x" } })
        yield* one.writeFile("c/d/file", "x")
        const user = userOf(one)
        for (const { path: name } of yield* one.list("", { isRecursive: true })) {
          assert.strictEqual(userOf(one, name), user, name)
        }
        const changed = yield* one.exec(
          "find . -type f -exec sh -c 'echo y >> {} && touch {}.beside' ';'; rm -r a c to && echo done",
          {
            stdin: "x"
          }
        )
        assert.deepStrictEqual([changed.stdout, changed.stderr], ["done\n", ""])
      }))

    it.live("takes over a workspace that was kept under another user, there and back", () =>
      Effect.gen(function*() {
        const manifest = { files: { "deep/file": "x" } }
        const make = (user: "workspace" | "host") => SandboxBubblewrap.make({ root, user })
        const keep = Effect.flatMap(make("host"), (sandbox) => sandbox.create(manifest, { isKept: true }))
        const { state } = yield* Effect.scoped(Effect.tap(keep, (one) => one.exec("ln -s /etc/shadow link")))
        const shadow = fs.statSync("/etc/shadow").uid
        for (const user of ["workspace", "host", "workspace"] as const) {
          yield* Effect.scoped(Effect.gen(function*() {
            const found = yield* (yield* make(user)).resume(state)
            if (found._tag !== "Resumed") return assert.fail(found._tag)
            assert.strictEqual(userOf(found.session) === 0, user === "host")
            assert.strictEqual(userOf(found.session, "deep/file"), userOf(found.session))
            assert.strictEqual((yield* found.session.exec("echo y >> deep/file && echo done")).stdout, "done\n")
          }))
        }
        assert.strictEqual(fs.statSync("/etc/shadow").uid, shadow)
        yield* Effect.scoped(
          Effect.flatMap(make("host"), (sandbox) => sandbox.resume(state, undefined, { isKept: false }))
        )
      }))

    it.live("says what to allow where that user cannot reach root or a bind", () =>
      Effect.gen(function*() {
        const shut = path.join(path.dirname(root), "shut")
        fs.mkdirSync(path.join(shut, "in"), { recursive: true })
        fs.symlinkSync("/usr/share", path.join(shut, "link"))
        fs.chmodSync(shut, 0o700)
        for (
          const options of [
            { root: shut },
            { root: path.join(shut, "root") },
            { root, binds: [{ source: path.join(shut, "in") }] },
            { root, binds: [{ source: path.join(shut, "link") }] }
          ]
        ) {
          const message = yield* unavailable(SandboxBubblewrap.make(options))
          assert.include(message, `chmod o+x ${shut}`)
          assert.match(message, /user: "host"/)
          const sandbox = yield* SandboxBubblewrap.make({ ...options, user: "host" })
          assert.isFalse(sandbox.guarantees.identity)
        }
      }))

    it.live("refuses users that cannot be", () =>
      Effect.gen(function*() {
        for (
          const [first, last] of [[0, 10], [-5, 5], [10, 5], [1.5, 2], [1, 4_294_967_295], [Number.NaN, 1]] as const
        ) {
          assert.match(
            yield* unavailable(SandboxBubblewrap.make({ root, users: { first, last } })),
            /pass two user ids above 0/
          )
        }
      }))
  })

  it.live("needs what it is told of to be there when built, and when a command runs", () =>
    Effect.gen(function*() {
      assert.match(yield* unavailable(SandboxBubblewrap.make({ root: "/proc/none" })), /Pass as root a directory/)
      const { exec, state } = yield* session()
      fs.rmSync(path.join(state.location, "workspace"), { recursive: true })
      const { reason } = yield* Effect.flip(exec("true"))
      assert.strictEqual(reason._tag, "FileSystemFailed")
    }))

  it.live("is a Layer, with options or with settings", () =>
    Effect.gen(function*() {
      const echo = Sandbox.SandboxSession.use((one) => one.exec("echo from a layer")).pipe(
        Effect.map(({ stdout }) => stdout)
      )
      const { layer, layerConfig } = SandboxBubblewrap
      const configured = layerConfig({ root: Config.String("ROOT"), network: Config.Boolean("NETWORK") }).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ ROOT: root, NETWORK: "false" })))
      )
      for (const sandbox of [layer({ root }), configured]) {
        const stdout = yield* echo.pipe(Effect.provide(Sandbox.layerSession().pipe(Layer.provide(sandbox))))
        assert.strictEqual(stdout, "from a layer\n")
      }
      assert.deepStrictEqual(fs.readdirSync(root).filter((name) => name.startsWith("agent-layers-")), [])
    }))
})

const temporaryIn = (root: string, name: string): string => {
  const directory = path.join(path.dirname(root), name)
  fs.mkdirSync(directory)
  // Commands may be another user, whose right to write comes with the directory alone.
  fs.chmodSync(directory, 0o777)
  return directory
}
