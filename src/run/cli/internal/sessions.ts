/** `sessions`: what is kept, and looking after it. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Prompt from "effect/cli/Prompt"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { Rotation } from "../../../layers/session/SessionEncrypted.ts"
import * as Item from "../../../services/Item.ts"
import * as Session from "../../../services/Session.ts"
import { failed, type Failure, misused, type OutputClosed } from "./failure.ts"
import * as flags from "./flags.ts"
import { count, oneLine, Output, printable, table, time } from "./output.ts"
import * as stack from "./stack.ts"

type Service = Session.Session["Service"]

/** The session of that name: a configured one, or an extension that its variables configure. */
const layerOf = Effect.fnUntraced(function*({ registry, sessions }: stack.Stack, name: string) {
  const known = yield* registry.instances("session")
  if (known.includes(name)) return sessions(name)
  const backends = (yield* registry.list).filter((one) => one.kind === "session" && !one.decorates)
  if (!backends.some((one) => one.name === name)) {
    return yield* misused(
      `There is no session "${name}"`,
      `Configured: ${known.join(", ")}. Backends that variables can configure: ${
        backends.map((one) => one.name).join(", ")
      }`
    )
  }
  yield* registry.configure("session", name, { instance: name })
  return registry.layer("session", name)
})

const opened = Effect.fnUntraced(function*(name: string) {
  const services = yield* stack.open
  return yield* Layer.build(yield* layerOf(services, name))
})

const sessionOf = (name: string) => Effect.map(opened(name), (context) => Context.get(context, Session.Session))

const prefix = Flag.String("prefix").pipe(
  Flag.optional,
  Flag.withMetavar("TEXT"),
  Flag.withDescription("Only conversations whose ids begin so")
)

const limit = (what: string, n: number) =>
  Flag.Int("limit").pipe(
    Flag.filter((n) => n > 0, () => "a number above 0"),
    Flag.withDefault(n),
    Flag.withDescription(`${what} at most. Default: ${n}`)
  )

const id = Argument.String("conversation").pipe(Argument.withDescription("The id of a conversation"))
const ids = Argument.String("conversation").pipe(
  Argument.withDescription("Ids of conversations. None: all of them"),
  Argument.variadic()
)

const conversationsOf = (session: Service, given: ReadonlyArray<string>, prefix: Option.Option<string>) =>
  given.length > 0
    ? Effect.succeed(given)
    : session.capabilities.list
    ? Stream.runCollect(session.conversations({ prefix: Option.getOrUndefined(prefix) })).pipe(
      Effect.map((all): ReadonlyArray<string> => all.map(({ id }) => id))
    )
    : Effect.fail(misused("This session cannot list its conversations", "Name them"))

const list = Command.make(
  "list",
  { session: flags.session, prefix, limit: limit("Conversations", 100) },
  Effect.fnUntraced(function*({ limit, prefix, session: name }) {
    const output = yield* Output
    const session = yield* sessionOf(name)
    if (!session.capabilities.list) return yield* failed("This session cannot list its conversations")
    const found = yield* session.conversations({ prefix: Option.getOrUndefined(prefix) }).pipe(
      Stream.take(limit + 1),
      Stream.runCollect
    )
    const shown = found.slice(0, limit)
    if (yield* flags.Json) {
      return yield* output.json({ conversations: shown, hasMore: found.length > limit })
    }
    if (shown.length === 0) return yield* output.print("There are no conversations.")
    yield* output.print(table(
      ["conversation", "version", "changed"],
      shown.map(({ changedAt, id, version }) => [id, String(version), time(changedAt)])
    ))
    if (found.length > limit) yield* output.note(`There are more: --limit ${limit * 10}`)
  })
).pipe(Command.withDescription("Lists conversations by id."))

/** What an item says, on one line or on several. */
const textOf = (item: Item.Item): string => {
  if (Item.isMessage(item)) return Item.text(item)
  if (Item.isFunctionCall(item)) return `${item.name}(${item.arguments})`
  if (Item.isFunctionCallOutput(item)) {
    return typeof item.output === "string"
      ? item.output
      : item.output.map((part) => part.text ?? `[${part.type}]`).join(" ")
  }
  return Item.text(item)
}

const roleOf = (item: Item.Item): string =>
  Item.isMessage(item)
    ? item.role
    : Item.isFunctionCall(item)
    ? "calls"
    : Item.isFunctionCallOutput(item)
    ? "answers"
    : item.type

const missing = (id: string) =>
  failed(`There is no conversation "${oneLine(id, 200)}"`, "`agent-layers sessions list` shows which there are")

const show = Command.make(
  "show",
  { session: flags.session, limit: limit("The latest items", 1000), id },
  Effect.fnUntraced(function*({ id, limit, session: name }) {
    const output = yield* Output
    const session = yield* sessionOf(name)
    const { version } = yield* session.loadItems(id, { maxItems: 1 })
    const records = (yield* Stream.runCollect(Stream.takeRight(session.records(id), limit))).map((
      { cursor: _cursor, ...record }
    ) => record)
    if (records.length === 0) return yield* missing(id)
    if (yield* flags.Json) return yield* output.json({ id, version, records })
    yield* output.print(`${output.style.bold(oneLine(id, 200))}  version ${version}`)
    let commit = 0
    for (const { commit: at, item, savedAt } of records) {
      if (at !== commit) yield* output.print(output.style.dim(`-- commit ${at}, ${time(savedAt)}`))
      commit = at
      const text = printable(textOf(item)).trim()
      yield* output.print(`${roleOf(item)}: ${text === "" ? output.style.dim("(no text)") : text}`)
    }
  })
).pipe(Command.withDescription("Shows a conversation."))

const search = Command.make(
  "search",
  {
    session: flags.session,
    prefix,
    limit: limit("Matches", 100),
    text: Argument.String("text").pipe(Argument.withDescription("Is looked for in what was said, called and answered"))
  },
  Effect.fnUntraced(function*({ limit, prefix, session: name, text }) {
    const output = yield* Output
    if (text.trim() === "") return yield* misused("There is nothing to search for")
    const session = yield* sessionOf(name)
    const wanted = text.toLowerCase()
    const all = yield* conversationsOf(session, [], prefix)
    const matches: Array<{ conversation: string; commit: number; role: string; text: string }> = []
    yield* output.progress(
      all.length,
      ({ step }) =>
        Effect.forEach(all, (conversation) =>
          matches.length > limit ? Effect.void : session.records(conversation).pipe(
            Stream.runForEach(({ commit, item }) =>
              Effect.sync(() => {
                const whole = textOf(item).replaceAll(/\s+/g, " ")
                const at = whole.toLowerCase().indexOf(wanted)
                if (at < 0) return
                const from = Math.max(0, at - 30)
                matches.push({
                  conversation,
                  commit,
                  role: roleOf(item),
                  text: `${from === 0 ? "" : "…"}${whole.slice(from, at + wanted.length + 60)}`
                })
              })
            ),
            Effect.andThen(step(conversation))
          ), { discard: true })
    )
    const shown = matches.slice(0, limit)
    if (yield* flags.Json) return yield* output.json({ matches: shown, hasMore: matches.length > limit })
    if (shown.length === 0) return yield* output.print(`Nobody said "${oneLine(text)}".`)
    yield* output.print(table(
      ["conversation", "commit", "role", "text"],
      shown.map(({ commit, conversation, role, text }) => [conversation, String(commit), role, oneLine(text)])
    ))
    if (matches.length > limit) yield* output.note(`There are more: --limit ${limit * 10}`)
  })
).pipe(Command.withDescription("Searches what was said, in all conversations."))

/** One item of an export: one line of JSON. */
const Line = Schema.Struct({
  conversation: Schema.NonEmptyString,
  commit: Schema.Int,
  savedAt: Schema.optionalKey(Schema.Finite),
  item: Item.Item,
  meta: Schema.optionalKey(Session.Meta)
})

const encodeLine = Schema.encodeEffect(Schema.fromJsonString(Line))
const decodeLine = Schema.decodeEffect(Schema.fromJsonString(Line))

const exportCommand = Command.make(
  "export",
  {
    session: flags.session,
    prefix,
    out: Flag.String("out").pipe(
      Flag.withAlias("o"),
      Flag.optional,
      Flag.withMetavar("FILE"),
      Flag.withDescription("Where to. It must not exist. Default: standard output")
    ),
    ids
  },
  Effect.fnUntraced(function*({ ids, out, prefix, session: name }) {
    const output = yield* Output
    const fs = yield* FileSystem.FileSystem
    const session = yield* sessionOf(name)
    const all = yield* conversationsOf(session, ids, prefix)
    const encoder = new TextEncoder()
    let items = 0
    const write = yield* Option.match(out, {
      onNone: () => Effect.succeed((text: string): Effect.Effect<void, Failure | OutputClosed> => output.write(text)),
      onSome: (file) =>
        Effect.map(
          Effect.mapError(fs.open(file, { flag: "wx", mode: 0o600 }), (error) =>
            failed(
              `"${file}" cannot be written: ${error.reason._tag}`,
              "Name a file that does not exist yet: --out FILE",
              error
            )),
          (handle) => (text: string): Effect.Effect<void, Failure | OutputClosed> =>
            Effect.mapError(
              handle.writeAll(encoder.encode(text)),
              (error) => failed(`"${file}" cannot be written: ${error.reason._tag}`, undefined, error)
            )
        )
    })
    yield* output.progress(
      all.length,
      ({ step }) =>
        Effect.forEach(all, (conversation) =>
          session.records(conversation).pipe(
            Stream.runForEach(({ cursor: _cursor, ...record }) =>
              Effect.flatMap(Effect.orDie(encodeLine({ conversation, ...record })), (line) => {
                items++
                return write(`${line}\n`)
              })
            ),
            Effect.andThen(step(conversation))
          ), { discard: true })
    )
    if (ids.length > 0 && items === 0) return yield* missing(ids[0]!)
    const what = { conversations: all.length, items }
    if (Option.isSome(out) && (yield* flags.Json)) return yield* output.json({ ...what, file: out.value })
    yield* output.note(`exported ${count(what.conversations, "conversation")}, ${count(items, "item")}`)
  })
).pipe(Command.withDescription("Writes conversations as lines of JSON, one an item."))

type Commit = {
  readonly conversation: string
  readonly commit: number
  readonly items: Array<Item.Item>
  readonly meta: Session.Meta | undefined
}

/** Saves commits into a session, each under an operation id, so that what was cut short can be done again. */
const saver = (session: Service, operation: string) => {
  const versions = new Map<string, number>()
  const { operations, versions: hasVersions } = session.capabilities
  return (to: string, { commit, items, meta }: Commit) =>
    session.saveItems(to, items, {
      ...(operations ? { operationId: `${operation}/${commit}` } : undefined),
      ...(hasVersions ? { expectedVersion: versions.get(to) ?? 0 } : undefined),
      ...(meta === undefined ? undefined : { meta })
    }).pipe(
      Effect.catchReason("SessionError", "VersionConflict", () =>
        Effect.fail(failed(
          `Conversation "${oneLine(to, 200)}" is there already, with other content`,
          "Delete it first, or put it elsewhere: --prefix TEXT"
        ))),
      Effect.catchReason("SessionError", "OperationMismatch", () =>
        Effect.fail(failed(
          `Conversation "${oneLine(to, 200)}" was brought here before, and its content has changed since`,
          "Delete it first, or put it elsewhere: --prefix TEXT"
        ))),
      Effect.map(({ version }) => void versions.set(to, version))
    )
}

/** Items in order as the commits that they came in. */
const commitsOf = <E, R>(
  records: Stream.Stream<
    {
      readonly conversation: string
      readonly commit: number
      readonly item: Item.Item
      readonly meta?: Session.Meta | undefined
    },
    E,
    R
  >
): Stream.Stream<Commit, E, R> =>
  records.pipe(
    Stream.mapAccum((): Commit | undefined => undefined, (open, { commit, conversation, item, meta }) => {
      if (open !== undefined && open.conversation === conversation && open.commit === commit) {
        open.items.push(item)
        return [open, []] as const
      }
      const next: Commit = { conversation, commit, items: [item], meta }
      return [next, open === undefined ? [] : [open]] as const
    }, { onHalt: (open) => open === undefined ? [] : [open] })
  )

const place = Flag.String("prefix").pipe(
  Flag.withDefault(""),
  Flag.withMetavar("TEXT"),
  Flag.withDescription("Stands before the ids of the conversations that are made")
)

const importCommand = Command.make(
  "import",
  {
    session: flags.session,
    prefix: place,
    file: Argument.String("file").pipe(Argument.withDescription("What `export` wrote; - is standard input"))
  },
  Effect.fnUntraced(function*({ file, prefix, session: name }) {
    const output = yield* Output
    const fs = yield* FileSystem.FileSystem
    const stdio = yield* Stdio.Stdio
    const session = yield* sessionOf(name)
    const save = saver(session, "import")
    const bytes = Stream.mapError(
      file === "-" ? stdio.stdin : fs.stream(file),
      (error) => failed(`"${file}" cannot be read: ${error.reason._tag}`, undefined, error)
    )
    const conversations = new Set<string>()
    let items = 0
    let number = 0
    yield* output.progress(undefined, ({ step }) =>
      bytes.pipe(
        Stream.decodeText(),
        Stream.splitLines,
        Stream.map((line) => [++number, line] as const),
        Stream.filter(([, line]) => line.trim() !== ""),
        Stream.mapEffect(([at, line]) =>
          Effect.mapError(decodeLine(line), () =>
            failed(
              `Line ${at} of "${file}" is no item of an export`,
              "What was read before it is imported; mend the line and import again"
            ))
        ),
        commitsOf,
        Stream.runForEach((commit) => {
          conversations.add(commit.conversation)
          items += commit.items.length
          return Effect.andThen(save(`${prefix}${commit.conversation}`, commit), step("commits"))
        })
      ))
    const what = { conversations: conversations.size, items }
    if (yield* flags.Json) return yield* output.json(what)
    yield* output.print(`imported ${count(what.conversations, "conversation")}, ${count(items, "item")}`)
  })
).pipe(
  Command.withDescription(
    "Reads what `export` wrote. Importing the same file again changes nothing; a conversation that is there with other " +
      "content is refused. The times of saving are those of the import."
  )
)

const copy = Command.make(
  "copy",
  {
    from: Flag.String("from").pipe(
      Flag.withDefault("default"),
      Flag.withMetavar("NAME"),
      Flag.withDescription("A configured session, or a backend that variables configure. Default: default")
    ),
    to: Flag.String("to").pipe(
      Flag.withMetavar("NAME"),
      Flag.withDescription("A configured session, or a backend that variables configure")
    ),
    prefix,
    ids
  },
  Effect.fnUntraced(function*({ from, ids, prefix, to }) {
    if (from === to) return yield* misused("--from and --to are the same session")
    const output = yield* Output
    const services = yield* stack.open
    const session = (name: string) =>
      Effect.flatMap(
        layerOf(services, name),
        (layer) => Effect.map(Layer.build(layer), (context) => Context.get(context, Session.Session))
      )
    const source = yield* session(from)
    const save = saver(yield* session(to), "import")
    const all = yield* conversationsOf(source, ids, prefix)
    let items = 0
    yield* output.progress(
      all.length,
      ({ step }) =>
        Effect.forEach(all, (conversation) =>
          source.records(conversation).pipe(
            Stream.map((record) => ({ conversation, ...record })),
            commitsOf,
            Stream.runForEach((commit) => {
              items += commit.items.length
              return save(conversation, commit)
            }),
            Effect.andThen(step(conversation))
          ), { discard: true })
    )
    if (ids.length > 0 && items === 0) return yield* missing(ids[0]!)
    const what = { conversations: all.length, items, from, to }
    if (yield* flags.Json) return yield* output.json(what)
    yield* output.print(
      `copied ${count(what.conversations, "conversation")}, ${count(items, "item")} from ${from} to ${to}`
    )
  })
).pipe(
  Command.withDescription(
    "Copies conversations to another session, commit by commit. Copying again goes on where it was cut short."
  )
)

const rotate = Command.make(
  "rotate-keys",
  { session: flags.session, prefix, ids },
  Effect.fnUntraced(function*({ ids, prefix, session: name }) {
    const output = yield* Output
    const context = yield* opened(name)
    const session = Context.get(context, Session.Session)
    const rotation = Context.getOption(context as Context.Context<never>, Rotation)
    if (Option.isNone(rotation)) {
      return yield* failed("This session is not encrypted", `Put "encrypted" into its \`wrap\``)
    }
    const all = yield* conversationsOf(session, ids, prefix)
    let rotated = 0
    yield* output.progress(
      all.length,
      ({ step }) =>
        Effect.forEach(all, (conversation) =>
          Effect.flatMap(rotation.value.rotate(conversation), (done) => {
            rotated += done.rotated
            return step(conversation)
          }), { discard: true })
    )
    const what = { conversations: all.length, rotated }
    if (yield* flags.Json) return yield* output.json(what)
    yield* output.print(`sealed ${count(rotated, "item")} of ${count(all.length, "conversation")} anew`)
  })
).pipe(
  Command.withDescription(
    "Seals conversations anew under the first key of the ring. An old key can go when this was done for all of them."
  )
)

const compact = Command.make(
  "compact",
  { session: flags.session, prefix, ids },
  Effect.fnUntraced(function*({ ids, prefix, session: name }) {
    const output = yield* Output
    const session = yield* sessionOf(name)
    const all = yield* conversationsOf(session, ids, prefix)
    const size = (id: string) => Effect.map(session.loadItems(id), ({ items }) => items.length)
    const done = yield* output.progress(
      all.length,
      ({ step }) =>
        Effect.forEach(all, (conversation) =>
          Effect.gen(function*() {
            const before = yield* size(conversation)
            yield* session.maintain(conversation)
            const after = yield* size(conversation)
            yield* step(conversation)
            return { conversation, before, after }
          }))
    )
    if (yield* flags.Json) return yield* output.json({ conversations: done })
    if (done.length === 0) return yield* output.print("There are no conversations.")
    yield* output.print(table(
      ["conversation", "before", "after"],
      done.map(({ after, before, conversation }) => [conversation, String(before), String(after)])
    ))
    if (done.every(({ after, before }) => after === before)) {
      yield* output.note(
        "Nothing was too long for the session's layers (compacted, retention), or it has none of them."
      )
    }
  })
).pipe(Command.withDescription("Lets the session's layers compact and forget now, as they do after a run."))

const remove = Command.make(
  "delete",
  {
    session: flags.session,
    yes: flags.yes,
    ids: Argument.String("conversation").pipe(
      Argument.withDescription("Ids of conversations"),
      Argument.variadic({ min: 1 })
    )
  },
  Effect.fnUntraced(function*({ ids, session: name, yes }) {
    const output = yield* Output
    const session = yield* sessionOf(name)
    for (const id of ids) {
      const { items } = yield* session.loadItems(id, { maxItems: 1 })
      if (items.length === 0) return yield* missing(id)
    }
    if (!yes) {
      if (!output.canPrompt) {
        return yield* misused("Nobody is there to be asked whether to delete", "Say so beforehand: --yes")
      }
      const isSure = yield* Prompt.run(Prompt.Confirm({
        message: `Delete ${count(ids.length, "conversation")} for good?`,
        initial: false
      }))
      if (!isSure) return yield* failed("Nothing was deleted")
    }
    for (const id of ids) yield* session.clear(id)
    if (yield* flags.Json) return yield* output.json({ deleted: ids })
    yield* output.print(`deleted ${count(ids.length, "conversation")}`)
  })
).pipe(Command.withDescription("Deletes the content of conversations. Asks first."))

export const sessions = Command.make("sessions").pipe(
  Command.withShortDescription("Look after conversations"),
  Command.withDescription("Lists, shows, searches, moves and deletes conversations."),
  Command.withSubcommands([list, show, search, exportCommand, importCommand, copy, rotate, compact, remove])
)
