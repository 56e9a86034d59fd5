// @effect-diagnostics nodeBuiltinImport:off
import * as fs from "node:fs"
import type { Command } from "../../../services/Sandbox.ts"

/** How long a command line and its variables may be: what the kernel takes with `execve`. */

/** MAX_ARG_STRLEN of linux/binfmts.h, its NUL included. */
const maxArgument = 131_072

/** Three quarters of _STK_LIM of linux/resource.h: more is refused whatever the stack may be. */
const maxOfAll = 6 * 1024 * 1024

/** For what the backend puts before and after a command. */
const reserve = 16 * 1024

const stackBytes = (): number => {
  try {
    const found = /^Max stack size\s+(\d+)/m.exec(fs.readFileSync("/proc/self/limits", "latin1"))
    return found === null ? Infinity : Number(found[1])
  } catch {
    return Infinity
  }
}

export const adviseOnLength =
  "Pass long text as stdin, or write it to a file with writeFile and let the command read that (`. ./variables` for " +
  "variables)"

const show = (count: number): string => count.toLocaleString("en-US")

/** Why a command is too long; `undefined` if it is not. `maxWords`: how many words a backend can hand on. */
export const wrongLength = (
  { command, environment }: Pick<Command, "command" | "environment">,
  maxWords: { readonly maximum: number; readonly perVariable: number } | undefined
): string | undefined => {
  const parts = typeof command === "string" ? [command] : command
  const variables = Object.entries(environment)
  const names = [
    ...parts.map(() => typeof command === "string" ? "The command line" : "An argument"),
    ...variables.map(([name]) => `Variable "${name.slice(0, 100)}"`)
  ]
  const lengths = [
    ...parts.map((part) => Buffer.byteLength(part) + 1),
    ...variables.map(([name, value]) => Buffer.byteLength(name) + Buffer.byteLength(value) + 2)
  ]
  const long = lengths.findIndex((length) => length > maxArgument)
  if (long >= 0) {
    return `${names[long]} has ${show(lengths[long]! - 1)} bytes; the system takes ${show(maxArgument - 1)}. ` +
      adviseOnLength
  }
  if (maxWords !== undefined && parts.length + variables.length * maxWords.perVariable > maxWords.maximum) {
    return `${show(parts.length)} arguments and ${show(variables.length)} variables are too many: this sandbox takes ` +
      `${show(maxWords.maximum)} arguments, and a variable counts as ${maxWords.perVariable}. ${adviseOnLength}`
  }
  const all = lengths.reduce((sum, length) => sum + length + 8, 0)
  const most = Math.min(maxOfAll, Math.max(maxArgument, stackBytes() / 4)) - reserve
  return all > most
    ? `The command and its variables have ${show(all)} bytes; the system takes ${show(most)}. ${adviseOnLength}`
    : undefined
}
