/** SessionS3 with many objects, beside other writers, and with faults at random. */
import { assert, describe, it } from "@effect/vitest"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import { type Item, user } from "agent-layers/services/Item"
import type { Session } from "agent-layers/services/Session"
import { Effect, Fiber, Random, Stream } from "effect"
import { forEachSeed, timeLimit } from "../../support/rounds.ts"
import * as S3Peer from "../../support/s3/S3Peer.ts"
import { label, labels, large, objectsOf, open } from "../../support/s3/sessions.ts"

describe("SessionS3 at length", () => {
  it.live("many rounds of commits and maintain leave few objects", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer)
      let most = 0
      for (let turn = 0; turn < 150; turn++) {
        yield* session.saveItems("a", [large(`${turn}`)])
        yield* session.maintain("a")
        most = Math.max(most, objectsOf(peer, "items").length)
      }
      assert.isAtMost(most, 8)
      assert.deepStrictEqual(yield* labels(session, "a"), Array.from({ length: 150 }, (_, index) => `${index}`))
      const found = yield* Stream.runCollect(session.records("a"))
      assert.deepStrictEqual(found.map((one) => one.commit), Array.from({ length: 150 }, (_, index) => index + 1))
    }))

  it.live("more long ids with one beginning than a page of the list holds", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer)
      const names = Array.from({ length: 300 }, (_, index) => `${"ü".repeat(500)}${String(index).padStart(4, "0")}`)
      yield* Effect.forEach(names, (name) => session.saveItems(name, [user("x")]), { concurrency: 8, discard: true })
      yield* session.saveItems("after", [user("x")])
      const listed = yield* Stream.runCollect(session.conversations())
      assert.deepStrictEqual(listed.map((one) => one.id), ["after", ...names])
    }), { timeout: 30_000 })

  it.live("lets a reader see whole histories while segments are joined and removed", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.makeWith({ latency: 1 })
      const session = yield* open(peer)
      const other = yield* open(peer)
      const writer = yield* Effect.forkChild(Effect.forEach(
        Array.from({ length: 60 }, (_, index) => index),
        (turn) =>
          Effect.andThen(
            (turn % 2 === 0 ? session : other).saveItems("a", [large(`${turn}`)]),
            turn % 3 === 0 ? (turn % 2 === 0 ? other : session).maintain("a") : Effect.void
          ),
        { discard: true }
      ))
      let seen = 0
      while (writer.pollUnsafe() === undefined) {
        // Nothing of what it reads is remembered from before.
        const found = yield* Effect.scoped(Effect.flatMap(open(peer), (reader) => labels(reader, "a")))
        assert.deepStrictEqual(found, Array.from({ length: found.length }, (_, index) => `${index}`))
        assert.isAtLeast(found.length, seen)
        seen = found.length
      }
      yield* Fiber.join(writer)
      assert.strictEqual((yield* labels(session, "a")).length, 60)
    }), { timeout: 30_000 })
})

describe("SessionS3 beside SessionMemory", () => {
  it.live(
    "does the same whatever goes wrong on the way",
    (test) =>
      forEachSeed(test, "s3", () =>
        Effect.gen(function*() {
          const peer = yield* S3Peer.makeWith({ pageSize: 3 })
          const model = yield* SessionMemory.make()
          let sessions = [yield* open(peer), yield* open(peer)]
          const pick = (below: number) => Random.nextIntBetween(0, below - 1)
          let count = 0
          let end = () => {}
          for (let step = 0; step < 60; step++) {
            const session = sessions[yield* pick(2)]!
            if ((yield* pick(3)) === 0) {
              const kinds = ["lose", "cut", S3Peer.slowDown, S3Peer.internalError, S3Peer.conflict] as const
              const kind = kinds[yield* pick(5)]!
              const when = (request: S3Peer.S3Request) => kind !== S3Peer.conflict || request.method === "PUT"
              end()
              end = peer.fault({ when, skip: yield* pick(3), times: 1 + (yield* pick(2)), kind })
            }
            const action = yield* pick(12)
            if (action < 6) {
              const items: Array<Item> = []
              for (let left = 1 + (yield* pick(3)); left > 0; left--) {
                items.push((yield* pick(2)) === 0 ? large(`${count++}`) : user(`${count++} small`))
              }
              const options = { operationId: `op/${count}` }
              assert.deepStrictEqual(
                yield* session.saveItems("a", items, options),
                yield* model.saveItems("a", items, options)
              )
            } else if (action === 6) {
              const { version } = yield* model.loadItems("a")
              const through = Math.max(0, version - (yield* pick(6)))
              const rewrite = { through, items: [user(`${count++} rewritten`)] }
              const expected = yield* Effect.result(model.rewrite("a", rewrite))
              const got = yield* Effect.result(session.rewrite("a", rewrite))
              assert.strictEqual(got._tag, expected._tag)
              if (expected._tag === "Success" && got._tag === "Success") {
                assert.deepStrictEqual(got.success, expected.success)
              }
            } else if (action === 7) {
              assert.deepStrictEqual(yield* session.popItem("a"), yield* model.popItem("a"))
            } else if (action === 8 && (yield* pick(4)) === 0) {
              yield* session.clear("a")
              yield* model.clear("a")
            } else if (action === 9) {
              yield* session.maintain("a")
            } else if (action === 10) {
              sessions = [yield* open(peer), session]
            } else {
              const options = { maxItems: yield* pick(8), known: (yield* pick(2)) === 0 ? undefined : yield* pick(60) }
              assert.deepStrictEqual(yield* session.loadItems("a", options), yield* model.loadItems("a", options))
            }
            if (step % 10 === 9) {
              assert.deepStrictEqual(yield* session.loadItems("a"), yield* model.loadItems("a"))
              const facts = (one: Session["Service"]) =>
                Effect.map(
                  Stream.runCollect(one.records("a")),
                  (found) => found.map(({ commit, item }) => [commit, label(item)])
                )
              assert.deepStrictEqual(yield* facts(session), yield* facts(model))
            }
          }
        }).pipe(Effect.scoped)),
    { timeout: timeLimit }
  )
})
