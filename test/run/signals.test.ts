import { assert, describe, it } from "@effect/vitest"
import type { RunConfig, RunResult } from "agent-layers"
import {
  Agent,
  Approval,
  History,
  Ids,
  Item,
  ModelScripted,
  RunJournal,
  Session,
  SessionMemory,
  ToolContext
} from "agent-layers"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Schema, Stream } from "effect"
import { kit, look, outputs, pay, reasonOf, resumeAs, runAs, ways } from "./support.ts"

const cashier = Agent.make({ name: "cashier", toolkit: kit })

/** Each calls the next one, as `ask`; all have one name and one toolkit. */
const nested = (depth: number): Agent.Agent<string, any, any> =>
  Agent.make({
    name: "clerk",
    toolkit: kit,
    agentTools: depth === 0
      ? []
      : [Agent.asTool(nested(depth - 1), { name: "ask", description: "Asks another clerk" })]
  }) as Agent.Agent<string, any, any>

const ask = (callId: string, input: string) => ({ name: "ask", arguments: { input }, callId })

/** What the model answers, by the text of the first message and the number of outputs after it. */
type Plan = Readonly<Record<string, Readonly<Record<number, ModelScripted.Step>>>>

const following = (plan: Plan): ModelScripted.Script => (request) => {
  const input = request.input as ReadonlyArray<Item.Item>
  const task = Item.text(input.find(Item.isMessage)!)
  const outputs = input.filter(Item.isFunctionCallOutput).length
  const step = plan[task]?.[outputs]
  if (step === undefined) throw new Error(`no answer to "${task}" after ${outputs} outputs`)
  return step
}

/** Every agent asks two others and pays, with the same ids and arguments everywhere; those at the end look too. */
const tree = (task: string, depth: number): Plan =>
  depth === 0
    ? { [task]: { 0: ModelScripted.calls([pay(1, "p"), look(task, "l")]), 2: ModelScripted.text(`from ${task}`) } }
    : {
      [task]: {
        0: ModelScripted.calls([ask("a", `${task}a`), pay(1, "p"), ask("b", `${task}b`)]),
        3: ModelScripted.text(`from ${task}`)
      },
      ...tree(`${task}a`, depth - 1),
      ...tree(`${task}b`, depth - 1)
    }

/** The paths of all agents in a tree. */
const paths = (depth: number): ReadonlyArray<string> =>
  depth === 0 ? [""] : ["", ...paths(depth - 1).flatMap((path) => [`a/${path}`, `b/${path}`])]

type Answering = (approval: Approval.Approval) => Effect.Effect<Option.Option<Approval.Decision>>

const yes: Answering = (approval) => Effect.succeedSome(Approval.approve(approval))
const nobody: Answering = () => Effect.succeedNone

/**
 * A journal that keeps results as JSON text, by run and name, and gives them back. From the record on that is the last,
 * nothing begins any more and nothing goes on, as in a process that is killed.
 */
const recording = (
  answering: Answering,
  records: Map<string, string> = new Map(),
  lastRecord = Number.POSITIVE_INFINITY
) => {
  const killed = Deferred.makeUnsafe<void>()
  const alive = Effect.suspend(() => {
    if (records.size < lastRecord) return Effect.void
    Deferred.doneUnsafe(killed, Exit.void)
    return Effect.never
  })
  const steps: Array<string> = []
  const signals: Array<string> = []
  const as = <A, E>({ error, success }: RunJournal.StepSchemas<A, E>) =>
    Schema.fromJsonString(
      Schema.toCodecJson(
        Schema.Union([
          Schema.Struct({ _tag: Schema.tag("Success"), value: success }),
          Schema.Struct({ _tag: Schema.tag("Failure"), error })
        ])
      )
    )
  const keep = (key: string, text: string) =>
    Effect.suspend(() => {
      records.set(key, text)
      return alive
    })
  const journal: RunJournal.RunJournal = {
    step: <A, E, R>(
      { name, runId }: { readonly runId: string; readonly name: string },
      schemas: () => RunJournal.StepSchemas<A, E>,
      effect: Effect.Effect<A, E, R>
    ) =>
      Effect.gen(function*() {
        steps.push(name)
        const key = `${runId} ${name}`
        const schema = as(schemas())
        const known = records.get(key)
        if (known !== undefined) {
          const result = yield* Effect.orDie(Schema.decodeEffect(schema)(known))
          return yield* result._tag === "Success" ? Effect.succeed(result.value) : Effect.fail(result.error)
        }
        yield* alive
        const settled = yield* Effect.match(effect, {
          onFailure: (error) => ({ _tag: "Failure" as const, error }),
          onSuccess: (value) => ({ _tag: "Success" as const, value })
        })
        yield* keep(key, yield* Effect.orDie(Schema.encodeEffect(schema)(settled)))
        return yield* settled._tag === "Success" ? Effect.succeed(settled.value) : Effect.fail(settled.error)
      }) as Effect.Effect<A, E, R>,
    signal: <Request, Answer>(
      { name, runId }: { readonly runId: string; readonly name: string },
      schemas: () => RunJournal.SignalSchemas<Request, Answer>,
      request: Request
    ) =>
      Effect.gen(function*() {
        signals.push(name)
        const key = `${runId} ${name}`
        const schema = Schema.fromJsonString(Schema.toCodecJson(schemas().answer))
        const known = records.get(key)
        if (known !== undefined) return Option.some(yield* Effect.orDie(Schema.decodeEffect(schema)(known)))
        yield* alive
        const asked = Schema.toCodecJson(schemas().request)
        const shown = yield* Effect.orDie(
          Effect.flatMap(Schema.encodeEffect(asked)(request), Schema.decodeEffect(asked))
        )
        const answer = yield* answering(shown as unknown as Approval.Approval)
        if (Option.isNone(answer)) return Option.none()
        yield* keep(key, yield* Effect.orDie(Schema.encodeEffect(schema)(answer.value as unknown as Answer)))
        return answer as Option.Option<any>
      }) as Effect.Effect<Option.Option<Answer>>
  }
  return { journal, steps, signals, records, killed: Deferred.await(killed) }
}

/** One process that carries out the run: its handlers, its model, its ids. `ran` is told each handler that starts. */
const process_ = <A>(
  effect: Effect.Effect<A, any, any>,
  plan: Plan,
  journal: RunJournal.RunJournal,
  ran: Array<string>
): Effect.Effect<A, any, Session.Session> => {
  const note = Effect.map(ToolContext.ToolContext, ({ idempotencyKey, toolName }) => {
    ran.push(`${toolName} ${idempotencyKey.replace(/^[^/]*\//, "")}`)
    return `${toolName} done`
  })
  return effect.pipe(
    Effect.provide(Layer.mergeAll(
      kit.toLayer({ pay: () => note, look: () => note }),
      ModelScripted.layer(following(plan)),
      Ids.layerSequential
    )),
    Effect.provideService(RunJournal.RunJournal, journal)
  ) as Effect.Effect<A, any, Session.Session>
}

const stored = Session.Session.use((session) => session.loadItems("c"))

const byId = (a: Approval.Approval, b: Approval.Approval) => a.id < b.id ? -1 : 1

const checkUnique = (names: ReadonlyArray<string>) =>
  assert.strictEqual(new Set(names).size, names.length, names.join("\n"))

/** Without the ids that a model gives what it writes. */
const written = (items: ReadonlyArray<Item.Item>) =>
  items.map((item) => Object.fromEntries(Object.entries(item).filter(([key]) => key !== "id")))

/** What a run came to, but for what depends on the order in which agents beside each other go on. */
const told = (result: RunResult.RunResult<string>) => ({
  finalOutput: result.finalOutput,
  turns: result.turns,
  usage: result.usage,
  items: written(result.items),
  newItems: written(result.newItems)
})

const simple: Plan = {
  go: { 0: ModelScripted.calls([pay(1, "p1"), look("x", "l")]), 2: ModelScripted.text("done") }
}

const conversation: RunConfig.RunOptions = { conversationId: "c" }

const world = <A>(effect: Effect.Effect<A, any, Session.Session>) =>
  Effect.provide(effect, Layer.fresh(SessionMemory.layer))

/** Ends with the last record that the journal keeps. */
const killed = (
  run: Effect.Effect<any, any, any>,
  plan: Plan,
  { journal, killed }: ReturnType<typeof recording>,
  ran: Array<string>
) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(process_(run, plan, journal, ran))
    yield* killed
    yield* Fiber.interrupt(fiber)
  })

for (const way of ways) {
  describe(`approvals through the journal, ${way}`, () => {
    for (const depth of [0, 1, 3]) {
      const agent = nested(depth)
      const plan = tree("t", depth)
      const inTree = paths(depth)
      const names = inTree.map((path) => `${path}approval/1/p`)
      const isLeaf = (path: string) => path.split("/").length === depth + 1
      const handled = [
        ...inTree.map((path) => `pay ${path}p`),
        ...inTree.filter(isLeaf).map((path) => `look ${path}l`)
      ].sort()

      it.effect(`${depth} deep, answered at once: each call is asked about once, under the same names each time`, () =>
        Effect.gen(function*() {
          const both = []
          for (let execution = 0; execution < 2; execution++) {
            const ran: Array<string> = []
            const asked: Array<Approval.Approval> = []
            const { journal, signals, steps } = recording((approval) => {
              asked.push(approval)
              return yes(approval)
            })
            const result = yield* process_(runAs(way, agent, "t"), plan, journal, ran)
            assert.strictEqual(result.finalOutput, "from t")
            assert.deepStrictEqual(ran.sort(), handled)
            assert.deepStrictEqual(signals.slice().sort(), names.slice().sort())
            checkUnique([...steps, ...signals])
            checkUnique(asked.map(({ id }) => id))
            assert.strictEqual(new Set(asked.map(({ argumentsHash }) => argumentsHash)).size, 1)
            both.push({ steps: steps.sort(), asked: asked.sort(byId), told: told(result) })
          }
          assert.deepStrictEqual(both[1], both[0])
        }).pipe(Effect.provide(SessionMemory.layer)))

      it.effect(`${depth} deep, answered later, the last one first`, () =>
        Effect.gen(function*() {
          const ran: Array<string> = []
          const waiting: Array<readonly [Approval.Approval, Deferred.Deferred<Option.Option<Approval.Decision>>]> = []
          const { journal, signals } = recording((approval) =>
            Effect.suspend(() => {
              const answer = Deferred.makeUnsafe<Option.Option<Approval.Decision>>()
              waiting.push([approval, answer])
              return Deferred.await(answer)
            })
          )
          const fiber = yield* Effect.forkChild(process_(runAs(way, agent, "t"), plan, journal, ran))
          while (waiting.length < names.length) {
            yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
          }
          // Free siblings are not held up by those that wait.
          assert.deepStrictEqual(ran.slice().sort(), handled.filter((one) => one.startsWith("look")))
          for (const [approval, answer] of waiting.slice().reverse()) {
            yield* Deferred.succeed(answer, Option.some(Approval.approve(approval)))
          }
          const result = yield* Fiber.join(fiber)
          assert.strictEqual(result.finalOutput, "from t")
          assert.deepStrictEqual(ran.sort(), handled)
          assert.deepStrictEqual(signals.slice().sort(), names.slice().sort())
        }).pipe(Effect.provide(SessionMemory.layer)))

      it.effect(`${depth} deep, answered by nobody: the run ends with its state, and goes on from it`, () =>
        Effect.gen(function*() {
          const ran: Array<string> = []
          const { journal, records, signals } = recording(nobody)
          const waiting = yield* reasonOf(
            "ApprovalRequired",
            process_(runAs(way, agent, "t"), plan, journal, ran)
          )
          assert.deepStrictEqual(
            waiting.approvals.map(({ id }) => id).sort(),
            inTree.map((path) => `${path}p`).sort()
          )
          assert.deepStrictEqual(signals.slice().sort(), names.slice().sort())
          // Decided here, nobody is asked again.
          const again = recording(nobody, records)
          const result = yield* process_(
            resumeAs(way, agent, waiting.state, waiting.approvals.map((approval) => Approval.approve(approval))),
            plan,
            again.journal,
            ran
          )
          assert.strictEqual(result.finalOutput, "from t")
          assert.deepStrictEqual(ran.sort(), handled)
          assert.deepStrictEqual(again.signals, [])
        }).pipe(Effect.provide(SessionMemory.layer)))

      it.effect(`${depth} deep, a decision about other arguments is nobody's to mend`, () =>
        Effect.gen(function*() {
          const ran: Array<string> = []
          // The one furthest inside, last in order.
          const wrong = inTree.findLast(isLeaf)
          const { journal } = recording((approval) =>
            approval.id === `${wrong}p`
              ? Effect.succeedSome({ ...Approval.approve(approval), argumentsHash: "0".repeat(64) })
              : nobody(approval)
          )
          const refused = yield* reasonOf(
            "StateMismatch",
            process_(runAs(way, agent, "t", conversation), plan, journal, ran)
          )
          assert.match(refused.description, /other arguments/)
          assert.isFalse(ran.some((one) => one.startsWith("pay")))
          // The tools that were free to run have run, and no later run is to make their calls again.
          const { items } = yield* stored
          assert.isTrue(History.isValid(items))
          assert.strictEqual(items.length > 0, ran.length > 0)
        }).pipe(Effect.provide(SessionMemory.layer)))
    }

    it.effect("some are answered and some are not: what was approved runs once, and only the others are in the state", () =>
      Effect.gen(function*() {
        const ran: Array<string> = []
        const agent = nested(1)
        const plan = tree("t", 1)
        const { journal, records } = recording((approval) => approval.id === "a/p" ? yes(approval) : nobody(approval))
        const waiting = yield* reasonOf(
          "ApprovalRequired",
          process_(runAs(way, agent, "t", conversation), plan, journal, ran)
        )
        assert.deepStrictEqual(waiting.approvals.map(({ id }) => id), ["p", "b/p"])
        assert.deepStrictEqual(ran.slice().sort(), ["look a/l", "look b/l", "pay a/p"])
        assert.deepStrictEqual((yield* stored).items, [])
        const again = recording(yes, records)
        const result = yield* process_(
          resumeAs(way, agent, waiting.state, [Approval.reject(waiting.approvals[0]!)], conversation),
          plan,
          again.journal,
          ran
        )
        assert.deepStrictEqual(ran.slice().sort(), ["look a/l", "look b/l", "pay a/p", "pay b/p"])
        assert.deepStrictEqual(again.signals, ["b/approval/1/p"])
        assert.deepStrictEqual(outputs(result.items), {
          a: "from ta",
          p: `Error: Tool "pay" was not executed: the call was rejected.`,
          b: "from tb"
        })
        assert.deepStrictEqual((yield* stored).items, result.items)
      }).pipe(Effect.provide(SessionMemory.layer)))

    it.effect("a rejection and its reason reach the model, inside and outside", () =>
      Effect.gen(function*() {
        const ran: Array<string> = []
        const { journal } = recording((approval) =>
          Effect.succeedSome(Approval.reject(approval, { reason: `Not ${approval.id}.` }))
        )
        const seen = yield* process_(
          Effect.andThen(runAs(way, nested(1), "t"), ModelScripted.requests),
          tree("t", 1),
          journal,
          ran
        )
        const answers = seen.flatMap(({ input }) => {
          const { p } = outputs(input as ReadonlyArray<Item.Item>)
          return p === undefined ? [] : [p]
        })
        assert.deepStrictEqual(
          answers.sort(),
          ["a/p", "b/p", "p"].map((id) => `Error: Tool "pay" was not executed: the call was rejected. Not ${id}.`)
        )
        assert.deepStrictEqual(ran.slice().sort(), ["look a/l", "look b/l"])
      }).pipe(Effect.provide(SessionMemory.layer)))

    for (const isApproved of [true, false]) {
      it.effect(`always ${isApproved ? "yes" : "no"} holds for later calls in the same call of an agent, and no further`, () => {
        const decide = isApproved ? Approval.approve : Approval.reject
        const plan: Plan = {
          go: {
            0: ModelScripted.calls([pay(1, "p1")]),
            1: ModelScripted.calls([pay(2, "p2"), ask("a", "in")]),
            3: ModelScripted.calls([ask("b", "in")]),
            4: ModelScripted.calls([pay(3, "p3")]),
            5: ModelScripted.text("done")
          },
          in: {
            0: ModelScripted.calls([pay(4, "q1")]),
            1: ModelScripted.calls([pay(5, "q2"), pay(6, "q3")]),
            3: ModelScripted.text("inside")
          }
        }
        return Effect.gen(function*() {
          const ran: Array<string> = []
          const { journal, signals } = recording((approval) => Effect.succeedSome(decide(approval, { always: true })))
          const result = yield* process_(runAs(way, nested(1), "go"), plan, journal, ran)
          assert.strictEqual(result.finalOutput, "done")
          assert.deepStrictEqual(signals, ["approval/1/p1", "a/approval/1/q1", "b/approval/1/q1"])
          assert.deepStrictEqual(
            ran.map((one) => one.slice("pay ".length)).sort(),
            isApproved ? ["a/q1", "a/q2", "a/q3", "b/q1", "b/q2", "b/q3", "p1", "p2", "p3"] : []
          )
          const another = recording(nobody)
          const waiting = yield* reasonOf(
            "ApprovalRequired",
            process_(runAs(way, nested(1), "go"), plan, another.journal, ran)
          )
          assert.deepStrictEqual(waiting.approvals.map(({ id }) => id), ["p1"])
        }).pipe(Effect.provide(SessionMemory.layer))
      })
    }

    it.effect("interrupted while it waits, the run lets everything go and stores nothing", () =>
      Effect.gen(function*() {
        const open = new Set<string>()
        const waiting = Deferred.makeUnsafe<void>()
        const hold = (name: string, count: number) =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              open.add(name)
              if (open.size === count) Deferred.doneUnsafe(waiting, Exit.void)
            }),
            () => Effect.never,
            () => Effect.sync(() => open.delete(name))
          )
        const agent = nested(1)
        const plan = tree("t", 1)
        const journal: RunJournal.RunJournal = {
          step: (_run, _schemas, effect) => effect,
          signal: ({ name }) => hold(name, 5)
        }
        const running = runAs(way, agent, "t", conversation).pipe(
          Effect.provide(Layer.mergeAll(
            kit.toLayer({ pay: () => Effect.die("not approved"), look: ({ at }) => hold(`look ${at}`, 5) }),
            ModelScripted.layer(following(plan))
          )),
          Effect.provideService(RunJournal.RunJournal, journal)
        )
        const fiber = yield* Effect.forkChild(running)
        yield* Deferred.await(waiting)
        assert.deepStrictEqual(Array.from(open).sort(), [
          "a/approval/1/p",
          "approval/1/p",
          "b/approval/1/p",
          "look ta",
          "look tb"
        ])
        const busy = yield* reasonOf(
          "ConversationBusy",
          process_(runAs(way, cashier, "go", conversation), simple, recording(yes).journal, [])
        )
        assert.strictEqual(busy.conversationId, "c")
        yield* Fiber.interrupt(fiber)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        assert.deepStrictEqual(Array.from(open), [])
        const { items, version } = yield* stored
        assert.deepStrictEqual([items, version], [[], 0])
        const conversations = yield* Session.Session.use((session) => Stream.runCollect(session.conversations()))
        assert.deepStrictEqual(conversations, [])
        // Nobody holds the conversation any more.
        const ran: Array<string> = []
        yield* process_(runAs(way, cashier, "go", conversation), simple, recording(yes).journal, ran)
        assert.deepStrictEqual(ran.slice().sort(), ["look l", "pay p1"])
      }).pipe(Effect.provide(SessionMemory.layer)))

    it.effect("a run whose results are all recorded repeats nothing", () =>
      Effect.gen(function*() {
        const plan = tree("t", 2)
        const ran: Array<string> = []
        const first = recording(yes)
        const result = yield* process_(runAs(way, nested(2), "t"), plan, first.journal, ran)
        const before = new Map(first.records)
        const second = recording(() => Effect.die("asked again"), first.records)
        // A plan without answers: the model is not asked either.
        const again = yield* process_(runAs(way, nested(2), "t"), {}, second.journal, ran)
        checkUnique(ran)
        assert.deepStrictEqual(again, result)
        assert.deepStrictEqual(second.steps.sort(), first.steps.sort())
        assert.deepStrictEqual(second.signals.sort(), first.signals.sort())
        assert.deepStrictEqual(second.records, before)
      }).pipe(Effect.provide(SessionMemory.layer)))

    const twoTurns: Plan = {
      t: {
        0: ModelScripted.calls([pay(1, "p1"), look("x", "l1")]),
        2: ModelScripted.calls([pay(2, "p2")]),
        3: ModelScripted.text("done")
      }
    }
    const cases: ReadonlyArray<readonly [name: string, agent: Agent.Agent<string, any, any>, plan: Plan]> = [
      ["agents inside agents", nested(2), tree("t", 2)],
      ["several turns", cashier, twoTurns]
    ]
    for (const [name, agent, plan] of cases) {
      it.effect(`${name}: killed after any record, the run goes on from there in another process`, () =>
        Effect.gen(function*() {
          const whole = recording(yes)
          const undisturbed = yield* process_(runAs(way, agent, "t"), plan, whole.journal, [])
          const count = whole.records.size
          assert.isAbove(count, 7)
          for (let last = 1; last <= count; last++) {
            const ran: Array<string> = []
            const first = recording(yes, new Map(), last)
            const fiber = yield* Effect.forkChild(process_(runAs(way, agent, "t"), plan, first.journal, ran))
            yield* first.killed
            yield* Fiber.interrupt(fiber)
            const second = recording(yes, first.records)
            const result = yield* process_(runAs(way, agent, "t"), plan, second.journal, ran)
            checkUnique(ran)
            assert.deepStrictEqual(told(result), told(undisturbed), `after ${last} of ${count} records`)
            assert.strictEqual(second.records.size, count)
          }
        }).pipe(Effect.provide(SessionMemory.layer)))
    }

    it.effect("a conversation: killed after any record, what is stored in the end is the same", () =>
      Effect.gen(function*() {
        const run = runAs(way, cashier, "t", conversation)
        const whole = recording(yes)
        const undisturbed = yield* world(process_(run, twoTurns, whole.journal, []))
        const count = whole.records.size
        assert.isAbove(count, 9)
        for (let last = 1; last <= count; last++) {
          yield* world(Effect.gen(function*() {
            const ran: Array<string> = []
            const first = recording(yes, new Map(), last)
            yield* killed(run, twoTurns, first, ran)
            const result = yield* process_(run, twoTurns, recording(yes, first.records).journal, ran)
            checkUnique(ran)
            assert.deepStrictEqual(told(result), told(undisturbed), `after ${last} records`)
            const { items, version } = yield* stored
            assert.deepStrictEqual([written(items), version], [written(undisturbed.items), 3], `after ${last} records`)
          }))
        }
      }))

    it.effect("a conversation: killed between a commit and its record, it is stored once", () =>
      world(Effect.gen(function*() {
        const run = runAs(way, cashier, "t", conversation)
        const ran: Array<string> = []
        const first = recording(yes)
        const stored = Deferred.makeUnsafe<void>()
        const journal: RunJournal.RunJournal = {
          ...first.journal,
          step: (at, schemas, effect) =>
            at.name === "commit/1"
              ? effect.pipe(Effect.andThen(Deferred.succeed(stored, undefined)), Effect.andThen(Effect.never))
              : first.journal.step(at, schemas, effect)
        }
        const fiber = yield* Effect.forkChild(process_(run, twoTurns, journal, ran))
        yield* Deferred.await(stored)
        yield* Fiber.interrupt(fiber)
        const result = yield* process_(run, twoTurns, recording(yes, first.records).journal, ran)
        checkUnique(ran)
        assert.deepStrictEqual([result.finalOutput, result.version], ["done", 3])
      })))

    it.effect("a resumed run: killed after any record, it goes on from there", () =>
      Effect.gen(function*() {
        for (const last of [3, 4, 5, 6, 7, 8]) {
          yield* world(Effect.gen(function*() {
            const ran: Array<string> = []
            const records = new Map<string, string>()
            const { approvals, state } = yield* reasonOf(
              "ApprovalRequired",
              process_(runAs(way, cashier, "go", conversation), simple, recording(nobody, records).journal, ran)
            )
            const decisions = approvals.map((approval) => Approval.approve(approval))
            const run = resumeAs(way, cashier, state, decisions, conversation)
            yield* killed(run, simple, recording(nobody, records, last), ran)
            const result = yield* process_(run, simple, recording(nobody, records).journal, ran)
            checkUnique(ran)
            assert.strictEqual(result.finalOutput, "done", `after ${last} records`)
          }))
        }
      }))
  })

  describe(`decisions through the journal, ${way}`, () => {
    it.effect("are asked for under names of their own, whatever the ids of the calls", () =>
      Effect.gen(function*() {
        const ran: Array<string> = []
        const plan: Plan = {
          t: { 0: ModelScripted.calls([ask("a", "ta"), ask("a/b", "tb")]), 2: ModelScripted.text("done") },
          ta: { 0: ModelScripted.calls([ask("b", "tab")]), 1: ModelScripted.text("from ta") },
          tab: { 0: ModelScripted.calls([pay(1, "p")]), 1: ModelScripted.text("from tab") },
          tb: { 0: ModelScripted.calls([pay(1, "p")]), 1: ModelScripted.text("from tb") }
        }
        const { journal, signals, steps } = recording(yes)
        const result = yield* process_(runAs(way, nested(2), "t"), plan, journal, ran)
        checkUnique(steps)
        checkUnique(signals)
        assert.deepStrictEqual(outputs(result.items), { a: "from ta", "a/b": "from tb" })
      }).pipe(Effect.provide(SessionMemory.layer)))

    it.effect("are for the call that was shown, not for another one with the same arguments", () => {
      const other: Answering = (approval) => Effect.succeedSome({ ...Approval.approve(approval), id: "other" })
      const ran: Array<string> = []
      return Effect.gen(function*() {
        yield* reasonOf("StateMismatch", process_(runAs(way, cashier, "go"), simple, recording(other).journal, ran))
        assert.notInclude(ran, "pay p1")
      }).pipe(Effect.provide(SessionMemory.layer))
    })

    it.effect("for all later calls leave the calls of the same turn to be decided for themselves", () =>
      Effect.gen(function*() {
        const plan: Plan = {
          t: { 0: ModelScripted.calls([pay(1, "p1"), pay(2, "p2"), pay(3, "p3")]), 3: ModelScripted.text("done") }
        }
        const ran: Array<string> = []
        const last = Deferred.makeUnsafe<void>()
        const first = recording((approval) =>
          approval.id === "p1"
            ? Effect.as(Deferred.await(last), Option.some(Approval.approve(approval, { always: true })))
            : Effect.as(
              approval.id === "p3" ? Deferred.succeed(last, undefined) : Effect.void,
              Option.some(Approval.reject(approval))
            )
        )
        const run = runAs(way, cashier, "t", { toolConcurrency: 2 })
        yield* process_(run, plan, first.journal, ran)
        assert.deepStrictEqual(ran, ["pay p1"])
        // As if killed before the handler was recorded.
        for (const name of ["tool/1/p1", "model/2"]) first.records.delete(`run_1 ${name}`)
        const again = recording(() => Effect.die("asked again"), first.records)
        yield* process_(run, plan, again.journal, ran)
        assert.deepStrictEqual(ran, ["pay p1", "pay p1"])
      }).pipe(Effect.provide(SessionMemory.layer)))
  })
}
