import { Effect } from "effect"
import * as net from "node:net"

/** A port of the loopback that was free a moment ago, for servers that cannot choose one themselves. */
export const freePort: Effect.Effect<number> = Effect.promise(() =>
  new Promise<number>((resolve, reject) => {
    const server = net.createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })
)
