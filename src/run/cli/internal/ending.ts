/** How the process ends, beside what the command fails with. There is one process, and one main program in it. */
export const ending = {
  /** A server that SIGTERM stops has done what it was asked for. */
  isServer: false
}
