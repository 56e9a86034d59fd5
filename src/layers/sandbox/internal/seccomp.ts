/**
 * The system-call filter of commands: a program for the kernel's classic BPF machine, as the bytes that bubblewrap takes
 * with `--seccomp`. It refuses calls that change the machine, that reach around namespaces, or that look into other
 * processes, and every socket family but those of ordinary programs. AF_VSOCK, which no network namespace holds back, is
 * among the refused ones.
 *
 * @see https://docs.kernel.org/userspace-api/seccomp_filter.html
 */

export type Architecture = "x64" | "arm64"

/** AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of linux/audit.h. */
const audit: Readonly<Record<Architecture, number>> = { x64: 0xc000003e, arm64: 0xc00000b7 }

/**
 * Numbers of system calls as [x64, arm64]: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h
 * of Linux 6.18. `undefined`: the architecture does not have the call.
 */
const denied: Readonly<Record<string, readonly [x64: number | undefined, arm64: number]>> = {
  // Other processes.
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  kcmp: [312, 272],
  pidfd_getfd: [438, 438],
  process_madvise: [440, 440],
  // Keys, which belong to a user and to no namespace.
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  // Large parts of the kernel that ordinary programs do not use.
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  fanotify_init: [300, 262],
  // It opens sockets without the call `socket`.
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  // Mounts and namespaces.
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  unshare: [272, 97],
  setns: [308, 268],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  open_tree_attr: [467, 467],
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  // The machine.
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  reboot: [169, 142],
  swapon: [167, 224],
  swapoff: [168, 225],
  acct: [163, 89],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  syslog: [103, 116],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  adjtimex: [159, 171],
  clock_adjtime: [305, 266],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  vhangup: [153, 58],
  // Memory of other nodes.
  mbind: [237, 235],
  set_mempolicy: [238, 237],
  migrate_pages: [256, 238],
  move_pages: [279, 239],
  // Old ones.
  lookup_dcookie: [212, 18],
  nfsservctl: [180, 42]
}

/** Calls that x64 alone has. */
const deniedOnX64: Readonly<Record<string, number>> = {
  iopl: 172,
  ioperm: 173,
  modify_ldt: 154,
  uselib: 134,
  sysfs: 139
}

/** Calls whose arguments decide. */
const special = {
  socket: { x64: 41, arm64: 198 },
  socketpair: { x64: 53, arm64: 199 },
  clone: { x64: 56, arm64: 220 },
  clone3: { x64: 435, arm64: 435 },
  ioctl: { x64: 16, arm64: 29 }
} as const

/** The first number that Linux 6.18 does not have: what a newer kernel adds is refused. */
const firstUnknown = 470

/** AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK of sys/socket.h. */
const families = [1, 2, 10, 16]

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of linux/sched.h; `clone` has no NEWTIME. */
const namespaces = 0x7e020000

/** TIOCSTI and TIOCLINUX of asm-generic/ioctls.h: they type into a terminal. */
const terminalCommands = [0x5412, 0x541c] as const

/** Calls that a debugger and LeakSanitizer need. */
const debuggers: ReadonlySet<string> = new Set(["ptrace", "process_vm_readv"])

/** Offsets in `struct seccomp_data` of linux/seccomp.h: the number, the architecture, low halves of arguments. */
const numberAt = 0
const architectureAt = 4
const argumentAt = (index: number): number => 16 + 8 * index

// The instructions used, of linux/bpf_common.h: load a word, jump if equal, if not below, if a bit is set; return.
const load = 0x20
const jumpEqual = 0x15
const jumpNotBelow = 0x35
const jumpIfSet = 0x45
const giveBack = 0x06

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, value: number]

const allow: Instruction = [giveBack, 0, 0, 0x7fff0000]
const refuse = (errno: number): Instruction => [giveBack, 0, 0, 0x00050000 | errno]
const notPermitted = refuse(1)
const notThere = refuse(38)

const instructionsOf = (architecture: Architecture, debugging: boolean): ReadonlyArray<Instruction> => {
  const numbers = Object.entries(denied)
    .filter(([name]) => !(debugging && debuggers.has(name)))
    .flatMap(([, [x64, arm64]]) => architecture === "arm64" ? [arm64] : x64 === undefined ? [] : [x64])
  return [
    [load, 0, 0, architectureAt],
    [jumpEqual, 1, 0, audit[architecture]],
    notPermitted,
    [load, 0, 0, numberAt],
    // The calls of the x32 ABI have a bit of their own.
    ...(architecture === "x64" ? [[jumpNotBelow, 0, 1, 0x40000000], notThere] as const : []),
    ...[...numbers, ...(architecture === "x64" ? Object.values(deniedOnX64) : [])]
      .flatMap((number): ReadonlyArray<Instruction> => [[jumpEqual, 0, 1, number], notPermitted]),
    // Its flags lie in memory, which no filter sees. The C library then uses `clone`.
    [jumpEqual, 0, 1, special.clone3[architecture]],
    notThere,
    [jumpEqual, 0, 4, special.clone[architecture]],
    [load, 0, 0, argumentAt(0)],
    [jumpIfSet, 0, 1, namespaces],
    notPermitted,
    [load, 0, 0, numberAt],
    [jumpEqual, 0, 5, special.ioctl[architecture]],
    [load, 0, 0, argumentAt(1)],
    [jumpEqual, 1, 0, terminalCommands[0]],
    [jumpEqual, 0, 1, terminalCommands[1]],
    notPermitted,
    [load, 0, 0, numberAt],
    ...[special.socket[architecture], special.socketpair[architecture]].flatMap((
      number
    ): ReadonlyArray<Instruction> => [
      [jumpEqual, 0, families.length + 3, number],
      [load, 0, 0, argumentAt(0)],
      ...families.map((family, at): Instruction => [jumpEqual, families.length - at, 0, family]),
      notPermitted,
      [load, 0, 0, numberAt]
    ]),
    [jumpNotBelow, 0, 1, firstUnknown],
    notThere,
    allow
  ]
}

/** The filter as an array of `struct sock_filter`, or `undefined` if the numbers of this architecture are not known. */
export const makeFilter = (architecture: string, debugging: boolean): Uint8Array | undefined => {
  if (architecture !== "x64" && architecture !== "arm64") return undefined
  const instructions = instructionsOf(architecture, debugging)
  const bytes = new DataView(new ArrayBuffer(instructions.length * 8))
  instructions.forEach(([code, ifTrue, ifFalse, value], index) => {
    bytes.setUint16(index * 8, code, true)
    bytes.setUint8(index * 8 + 2, ifTrue)
    bytes.setUint8(index * 8 + 3, ifFalse)
    bytes.setUint32(index * 8 + 4, value >>> 0, true)
  })
  return new Uint8Array(bytes.buffer)
}
