import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Session } from "../../Session.ts"
import { equal, holds } from "../Law.ts"
import type { SessionSubject } from "./sessionSubject.ts"
import { contains, conversations, law, records, refused, sameItems, texts } from "./sessionSubject.ts"

type Call = readonly [name: string, effect: Effect.Effect<unknown, unknown>]

/** Every member with arguments that are fine. */
const calls = (session: Session["Service"], subject: SessionSubject, id: string): ReadonlyArray<Call> => {
  const has = (member: "popItem" | "clear" | "records") => subject.lacks?.includes(member) !== true
  const all: ReadonlyArray<readonly [boolean, ...Call]> = [
    [true, "loadItems", session.loadItems(id)],
    [true, "saveItems", session.saveItems(id, texts("x"))],
    [true, "saveItems of nothing", session.saveItems(id, [])],
    [subject.capabilities.rewrite, "rewrite", session.rewrite(id, { through: 0, items: texts("x") })],
    [has("popItem"), "popItem", session.popItem(id)],
    [has("records"), "records", records(session, id)],
    [subject.capabilities.list, "conversations", conversations(session, id)],
    [has("clear"), "clear", session.clear(id)]
  ]
  return all.filter(([isThere]) => isThere).map(([, name, effect]) => [name, effect] as const)
}

/** @internal */
export const lifeLaws = [
  law(
    "capabilities",
    "A session can do what its capabilities say, and refuses the rest with Unsupported",
    [],
    (bench) =>
      Effect.gen(function*() {
        const { id, session, subject } = bench
        const { list, operations, rewrite, versions } = subject.capabilities
        yield* equal("capabilities", session.capabilities, subject.capabilities)
        const unsupported: ReadonlyArray<readonly [boolean, ...Call]> = [
          [versions, "saveItems with expectedVersion", session.saveItems(id(), texts("x"), { expectedVersion: 0 })],
          [operations, "saveItems with operationId", session.saveItems(id(), texts("x"), { operationId: "op" })],
          [rewrite, "rewrite", session.rewrite(id(), { through: 0, items: texts("x") })],
          [list, "conversations", conversations(session, id())],
          [subject.lacks?.includes("popItem") !== true, "popItem", session.popItem(id())],
          [subject.lacks?.includes("clear") !== true, "clear", session.clear(id())],
          [subject.lacks?.includes("records") !== true, "records", records(session, id())]
        ]
        for (const [isThere, name, effect] of unsupported) {
          if (!isThere) yield* refused(`${name}, which the session cannot do`, "Unsupported", effect)
        }
        for (const [name, effect] of calls(session, subject, id("there"))) {
          const exit = yield* Effect.exit(effect)
          yield* holds(`${name}, which the session can do`, "success", Exit.isSuccess(exit), exit)
        }
      })
  ),

  law(
    "reopened",
    "A session that is opened again has what was saved",
    ["canReopen"],
    ({ id, subject }) =>
      Effect.gen(function*() {
        for (const turn of [1, 2, 3]) {
          yield* Effect.scoped(
            Effect.flatMap(subject.open, (session) => session.saveItems(id(), texts(`${turn} a`, `${turn} b`)))
          )
        }
        const session = yield* subject.open
        yield* contains({ session, subject }, id(), texts("1 a", "1 b", "2 a", "2 b", "3 a", "3 b"), 3)
      })
  ),

  law(
    "shared",
    "Two sessions on one store see each other's commits at once",
    ["canReopen"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session, subject } = bench
        const other = yield* bench.other
        const all: Array<string> = []
        for (const turn of ["1", "2", "3", "4"]) {
          const [writer, reader] = turn < "3" ? [session, other] : [other, session]
          yield* writer.saveItems(id(), texts(turn))
          all.push(turn)
          yield* contains({ session: reader, subject }, id(), texts(...all), all.length)
        }
      })
  ),

  law(
    "closed",
    "A session whose scope is closed fails with Closed, whatever is asked of it",
    [],
    ({ id, subject }) =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const session = yield* Scope.provide(subject.open, scope)
        yield* session.saveItems(id(), texts("one"))
        yield* Scope.close(scope, Exit.void)
        for (const [name, effect] of calls(session, subject, id())) {
          yield* refused(`${name} after the scope was closed`, "Closed", effect)
        }
      })
  ),

  law(
    "one-closes",
    "Closing one session leaves another on the same store open",
    ["canReopen"],
    ({ id, subject }) =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const first = yield* Scope.provide(subject.open, scope)
        const second = yield* subject.open
        yield* first.saveItems(id(), texts("1"))
        yield* Scope.close(scope, Exit.void)
        yield* second.saveItems(id(), texts("2"))
        yield* contains({ session: second, subject }, id(), texts("1", "2"), 2)
      })
  ),

  law(
    "outage",
    "While the store takes no writes they fail with Unavailable, and a retry stores once",
    ["outage", "operations"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session, subject } = bench
        yield* session.saveItems(id(), texts("1"))
        const save = session.saveItems(id(), texts("2"), { operationId: "op" })
        const reason = yield* Effect.scoped(
          Effect.andThen(subject.faults!.outage!, refused("saveItems in an outage", "Unavailable", save))
        )
        yield* equal("Unavailable.isRetryable", reason.isRetryable, true)
        const first = yield* save
        yield* equal("the answer to another retry", yield* save, first)
        yield* sameItems("loadItems after the outage", (yield* session.loadItems(id())).items, texts("1", "2"))
      })
  )
]
