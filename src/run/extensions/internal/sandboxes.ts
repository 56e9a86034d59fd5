import * as Extension from "../../../services/Extension.ts"
import * as Setting from "../../../services/Setting.ts"
import { lazily, released } from "./builtIn.ts"

const place = {
  root: Setting.text("The directory below which workspaces are made. Absent: the system's for temporary files.", {
    optional: true
  }),
  path: Setting.list("Directories that stand before the usual ones in the `PATH` of commands.", { optional: true })
} as const

/** `source`, `source:target`, and `:rw` at the end where commands may write. */
const bindOf = (text: string) => {
  const isWritable = text.endsWith(":rw")
  const [source = "", target] = (isWritable ? text.slice(0, -":rw".length) : text).split(":")
  return { source, target, isWritable }
}

const bubblewrap = Extension.make({
  ...released,
  kind: "sandbox",
  name: "bubblewrap",
  description: "Commands in namespaces of their own, by bubblewrap. It never runs a command without its walls.",
  config: {
    ...place,
    network: Setting.boolean("Whether commands have the host's network.", { default: false }),
    binds: Setting.list("What else commands see: `source`, `source:target`, with `:rw` where they may write.", {
      optional: true
    }),
    memoryBytes: Setting.integer("Bytes of memory of a process. Absent: any number.", { optional: true }),
    cpuSeconds: Setting.integer("Seconds of processor time of a process. Absent: any number.", { optional: true }),
    fileBytes: Setting.integer("Bytes of a file that a process writes. Absent: any number.", { optional: true }),
    openFiles: Setting.integer("Open files of a process. Absent: any number.", { optional: true }),
    tmpBytes: Setting.integer("The size of /tmp in bytes.", { default: 268_435_456 }),
    program: Setting.text("The path of bubblewrap. Absent: where `PATH` has it.", { optional: true }),
    user: Setting.choice(
      ["workspace", "host"],
      "Whose commands they are if the program is root's: those of a user for each workspace, or root's, with less guaranteed.",
      { default: "workspace" }
    ),
    debugging: Setting.boolean("Whether commands may look into their own processes, as gdb does.", { default: false })
  },
  layer: ({ binds, cpuSeconds, fileBytes, memoryBytes, openFiles, ...settings }) =>
    lazily(() => import("../../../layers/sandbox/SandboxBubblewrap.ts"), (module) =>
      module.layer({
        ...settings,
        binds: binds?.map(bindOf),
        limits: { cpuSeconds, fileBytes, memoryBytes, openFiles }
      }))
})

const unconfined = Extension.make({
  ...released,
  kind: "sandbox",
  name: "unconfined",
  description: "Commands as plain processes of this machine. Nothing is enforced.",
  canBeFallback: false,
  config: place,
  layer: (settings) =>
    lazily(() => import("../../../layers/sandbox/SandboxUnconfined.ts"), (module) => module.layer(settings))
})

const virtual = Extension.make({
  ...released,
  kind: "sandbox",
  name: "virtual",
  description: "Files in memory, and no commands: to try a program out.",
  canBeFallback: false,
  config: { root: Setting.text("The path of workspaces.", { default: "/workspace" }) },
  layer: (settings) =>
    lazily(() => import("../../../layers/sandbox/SandboxVirtual.ts"), (module) => module.layer(settings))
})

export const sandboxes: ReadonlyArray<Extension.Any> = [bubblewrap, unconfined, virtual]
