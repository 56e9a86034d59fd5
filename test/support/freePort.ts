import { Effect } from "effect"
import * as net from "node:net"

// Below the ports that a system gives to connections and to `listen(0)`: nothing else takes it before the server does,
// nor while the server is down.
const [first, last] = [10_000, 32_000]

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = net.createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })

/** A port of the loopback for a server that cannot choose one itself, or that has to come back at the same one. */
export const freePort: Effect.Effect<number> = Effect.promise(async () => {
  while (true) {
    const port = first + Math.floor(Math.random() * (last - first))
    if (await isFree(port)) return port
  }
})
