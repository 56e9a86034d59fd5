/** The system-call filter, run by a small interpreter: what a kernel test shows for one architecture, for both. */
import { assert, describe, it } from "@effect/vitest"
import type { Architecture } from "../../../src/layers/sandbox/internal/seccomp.ts"
import { makeFilter } from "../../../src/layers/sandbox/internal/seccomp.ts"

const audit = { x64: 0xc000003e, arm64: 0xc00000b7 }

interface Call {
  readonly number: number
  readonly arguments?: ReadonlyArray<number>
  readonly audit?: number
}

/** What the kernel's machine for filters answers: linux/filter.h has its instructions, linux/seccomp.h its data. */
const interpret = (program: Uint8Array, data: ReadonlyMap<number, number>): string => {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength)
  let accumulator = 0
  for (let at = 0; at < program.length / 8; at++) {
    const code = view.getUint16(at * 8, true)
    const ifTrue = view.getUint8(at * 8 + 2)
    const ifFalse = view.getUint8(at * 8 + 3)
    const value = view.getUint32(at * 8 + 4, true)
    if (code === 0x06) {
      if (value === 0x7fff0000) return "allowed"
      return value === 0x00050001 ? "EPERM" : value === 0x00050026 ? "ENOSYS" : assert.fail(`returns ${value}`)
    }
    if (code === 0x20) {
      accumulator = data.get(value) ?? assert.fail(`loads from ${value}`)
      continue
    }
    const isSo = code === 0x15
      ? accumulator === value
      : code === 0x35
      ? accumulator >= value
      : code === 0x45
      ? (accumulator & value) !== 0
      : assert.fail(`has the instruction ${code}`)
    at += isSo ? ifTrue : ifFalse
  }
  return assert.fail("has no end")
}

const answer = (architecture: Architecture, call: Call, debugging = false): string => {
  const data = new Map([[0, call.number], [4, call.audit ?? audit[architecture]]])
  for (let index = 0; index < 6; index++) data.set(16 + 8 * index, (call.arguments?.[index] ?? 0) >>> 0)
  return interpret(makeFilter(architecture, debugging)!, data)
}

const special = {
  x64: { socket: 41, socketpair: 53, clone: 56, clone3: 435, ioctl: 16, ptrace: 101, process_vm_readv: 310 },
  arm64: { socket: 198, socketpair: 199, clone: 220, clone3: 435, ioctl: 29, ptrace: 117, process_vm_readv: 270 }
}

/** By the kernel's own tables, what has to be refused: a list of its own, so that a slip in the filter's shows. */
const refused: Readonly<Record<Architecture, ReadonlyArray<number>>> = {
  x64: [
    ...[101, 103, 134, 139, 153, 154, 155, 159, 161, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173, 175, 176],
    ...[179, 180, 212, 227, 237, 238, 246, 248, 249, 250, 256, 272, 279, 298, 300, 303, 304, 305, 308, 310, 311, 312],
    ...[313, 320, 321, 323, 425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442, 443, 467]
  ],
  arm64: [
    ...[18, 39, 40, 41, 42, 51, 58, 60, 89, 97, 104, 105, 106, 112, 116, 117, 142, 161, 162, 170, 171, 217, 218, 219],
    ...[224, 225, 235, 237, 238, 239, 241, 262, 264, 265, 266, 268, 270, 271, 272, 273, 280, 282, 294],
    ...[425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442, 443, 467]
  ]
}

describe.each(["x64", "arm64"] as const)("the system-call filter of %s", (architecture) => {
  const { clone, clone3, ioctl, process_vm_readv, ptrace, socket, socketpair } = special[architecture]

  it("refuses each call of the list, those it does not know, and no other", () => {
    for (let number = 0; number <= 480; number++) {
      if (number === socket || number === socketpair) continue
      const expected = refused[architecture].includes(number)
        ? "EPERM"
        : number === clone3 || number >= 470
        ? "ENOSYS"
        : "allowed"
      assert.strictEqual(answer(architecture, { number }), expected, String(number))
    }
    assert.strictEqual(answer(architecture, { number: 0xffffffff }), "ENOSYS")
  })

  it("lets sockets of UNIX, INET, INET6 and NETLINK through, and none of AF_VSOCK or another family", () => {
    for (const number of [socket, socketpair]) {
      for (let family = 0; family < 64; family++) {
        const expected = [1, 2, 10, 16].includes(family) ? "allowed" : "EPERM"
        assert.strictEqual(answer(architecture, { number, arguments: [family, 1, 0] }), expected, String(family))
      }
    }
  })

  it("lets a process and a thread be made, but no namespace", () => {
    // What fork and pthread_create of the C library pass.
    for (const flags of [0x01200011, 0x003d0f00]) {
      assert.strictEqual(answer(architecture, { number: clone, arguments: [flags] }), "allowed")
    }
    for (const one of [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]) {
      assert.strictEqual(answer(architecture, { number: clone, arguments: [one | 17] }), "EPERM", one.toString(16))
    }
  })

  it("lets programs set their terminal, but not type into it", () => {
    for (
      const [request, expected] of [[0x5401, "allowed"], [0x5413, "allowed"], [0x5412, "EPERM"], [
        0x541c,
        "EPERM"
      ]] as const
    ) {
      assert.strictEqual(answer(architecture, { number: ioctl, arguments: [0, request] }), expected)
    }
  })

  it("refuses all calls of another architecture, and those of x32", () => {
    for (const other of [0x40000003, 0x40000028, architecture === "x64" ? audit.arm64 : audit.x64]) {
      assert.strictEqual(answer(architecture, { number: 1, audit: other }), "EPERM")
    }
    assert.strictEqual(answer(architecture, { number: 0x40000000 + 1 }), "ENOSYS")
  })

  it("lets debuggers work where that is asked for, and nothing more", () => {
    for (let number = 0; number <= 480; number++) {
      const expected = [ptrace, process_vm_readv].includes(number) ? "allowed" : answer(architecture, { number })
      assert.strictEqual(answer(architecture, { number }, true), expected, String(number))
    }
  })
})

it("there is no filter for an architecture whose numbers are not known", () => {
  for (const architecture of ["arm", "ia32", "riscv64", "s390x"]) assert.isUndefined(makeFilter(architecture, false))
})
