/** `serve`: agents over HTTP. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as flags from "./flags.ts"

const positive = (name: string, value: number, what: string) =>
  Flag.Int(name).pipe(
    Flag.filter((n) => n > 0, () => "a number above 0"),
    Flag.withDefault(value),
    Flag.withDescription(`${what}. Default: ${value}`)
  )

export const serve = Command.make(
  "serve",
  {
    agents: flags.agents,
    host: Flag.String("host").pipe(
      Flag.withDefault("127.0.0.1"),
      Flag.withDescription("The address to listen on. Default: 127.0.0.1")
    ),
    port: Flag.Int("port").pipe(
      Flag.filter((n) => n >= 0 && n < 65_536, () => "a port, or 0 for any"),
      Flag.withAlias("p"),
      Flag.withDefault(4117),
      Flag.withDescription("The port to listen on; 0 for any that is free. Default: 4117")
    ),
    keysFile: Flag.String("keys-file").pipe(
      Flag.optional,
      Flag.withMetavar("FILE"),
      Flag.withDescription(`Keys, one a line: KEY or NAME=KEY. Also from ${flags.keysVariable}`)
    ),
    open: Flag.Boolean("open").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Serve without keys to whoever reaches an address that is not this machine's own")
    ),
    cors: Flag.String("cors").pipe(
      Flag.atLeast(0),
      Flag.withMetavar("ORIGIN"),
      Flag.withDescription(
        "An origin of web pages that may use the server, such as https://app.example.com; repeatable"
      )
    ),
    allowHost: Flag.String("allow-host").pipe(
      Flag.atLeast(0),
      Flag.withMetavar("NAME"),
      Flag.withDescription(
        "Without keys: another name of this server, as clients of a proxy or a tunnel use it; repeatable"
      )
    ),
    maxRuns: positive("max-runs", 100, "Runs at the same time, of each API; one more gets 503"),
    maxRunsPerKey: Flag.Int("max-runs-per-key").pipe(
      Flag.filter((n) => n > 0, () => "a number above 0"),
      Flag.optional,
      Flag.withDescription(
        "Runs of one name at the same time; one more gets 429. Default: as many as are left for others"
      )
    ),
    maxBody: positive("max-body", 1_048_576, "Bytes of a request's body"),
    timeout: positive("timeout", 600, "Seconds that a run of /v1 may take"),
    drain: Flag.Int("drain").pipe(
      Flag.filter((n) => n >= 0, () => "a number, 0 or more"),
      Flag.withDefault(30),
      Flag.withDescription("Seconds that runs have when the server is to stop. Default: 30")
    )
  },
  (options) => Effect.flatMap(Effect.promise(() => import("./serving.ts")), ({ serving }) => serving(options))
).pipe(
  Command.withShortDescription("Serve agents over HTTP"),
  Command.withDescription(
    "Serves agents over HTTP: runs with events and approvals (/runs), and the API of OpenAI (/v1). SIGTERM refuses new " +
      `runs, lets those that go on finish within --drain, and ends with 0. ${flags.keysVariable}: keys, KEY or NAME=KEY, between ` +
      "commas; keys with a name have conversations of their own, and keys without one share theirs. Without keys, requests " +
      "of web pages (but those of --cors) and for other hosts are refused."
  )
)
