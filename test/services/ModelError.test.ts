import { assert, describe, it } from "@effect/vitest"
import * as ModelError from "agent-layers/services/ModelError"
import { Cause, Duration, Effect, Schema } from "effect"

const details = { description: "words" }

const reasons: ReadonlyArray<
  readonly [reason: ModelError.ModelErrorReason, isRetryable: boolean, message: string]
> = [
  [new ModelError.RateLimited(details), true, "Rate limited: words"],
  [
    new ModelError.RateLimited({ ...details, retryAfter: Duration.millis(1500) }),
    true,
    "Rate limited, retry after 1s 500ms: words"
  ],
  [new ModelError.QuotaExceeded(details), false, "Quota exceeded, check plan and billing: words"],
  [new ModelError.Overloaded({ ...details, status: 503 }), true, "The provider failed (503): words"],
  [new ModelError.Overloaded(details), true, "The provider failed: words"],
  [new ModelError.Timeout(details), true, "Timed out: words"],
  [new ModelError.Transport(details), true, "Connection failed: words"],
  [new ModelError.Authentication(details), false, "Not authorised, check the API key: words"],
  [new ModelError.InvalidRequest({ ...details, param: "input[3]" }), false, "Invalid request: words"],
  [
    new ModelError.ContextLengthExceeded(details),
    false,
    "The conversation does not fit the model's context window: words"
  ],
  [new ModelError.ContentFiltered(details), false, "Stopped by the provider's content filter: words"],
  [new ModelError.Refused(details), false, "The model refused to answer. Its words are in `description`"],
  [new ModelError.InvalidOutput(details), false, "The answer cannot be used: words"],
  [new ModelError.UnknownModel(details), false, "Unknown model: words"],
  [
    new ModelError.Unsupported({ ...details, feature: "prompt" }),
    false,
    "Not supported by this provider (prompt): words"
  ]
]

const codec = Schema.toCodecJson(ModelError.ModelError)

describe("ModelError", () => {
  it("has every reason in this table", () => {
    const tags = ModelError.ModelErrorReason.members.map((member) => new Set([member.identifier.split("/").at(-1)]))
    assert.deepStrictEqual(
      new Set(tags.flatMap((tag) => Array.from(tag))),
      new Set(reasons.map(([reason]) => reason._tag))
    )
  })

  for (const [reason, isRetryable, message] of reasons) {
    it(`${reason._tag} says "${message}"${isRetryable ? " and that a retry may help" : ""}`, () => {
      const error = new ModelError.ModelError({ provider: "openai", model: "gpt-5", reason })
      assert.strictEqual(reason.message, message)
      assert.strictEqual(error.message, `openai (gpt-5): ${message}`)
      assert.strictEqual(reason.isRetryable, isRetryable)
      assert.strictEqual(error.isRetryable, isRetryable)
      assert.strictEqual(error.cause, reason)
      assert.isFalse(reason.isPartial)
    })

    it.effect(`${reason._tag}${"retryAfter" in reason ? " with a delay" : ""} survives JSON`, () =>
      Effect.gen(function*() {
        const error = new ModelError.ModelError({ provider: "openai", reason })
        const json = JSON.stringify(yield* Schema.encodeEffect(codec)(error))
        const back = yield* Schema.decodeUnknownEffect(codec)(JSON.parse(json))
        assert.isTrue(ModelError.isModelError(back))
        assert.strictEqual(back.message, error.message)
        assert.strictEqual(back.reason._tag, reason._tag)
        assert.deepStrictEqual(
          JSON.parse(JSON.stringify(yield* Schema.encodeEffect(codec)(back))),
          JSON.parse(json)
        )
      }))
  }

  it("names the provider alone where no model was chosen", () => {
    const error = new ModelError.ModelError({ provider: "openai", reason: new ModelError.Timeout(details) })
    assert.strictEqual(error.message, "openai: Timed out: words")
    assert.strictEqual(error._tag, "ModelError")
    assert.instanceOf(error, Error)
  })

  it("keeps status, request id and cause", () => {
    const cause = new Error("socket hang up")
    const reason = new ModelError.Transport({ ...details, status: 502, requestId: "req_1", isPartial: true, cause })
    assert.deepInclude(reason, { status: 502, requestId: "req_1", isPartial: true, cause })
  })

  it.effect("is handled by reason", () =>
    Effect.gen(function*() {
      const failing = (reason: ModelError.ModelErrorReason) =>
        Effect.fail(new ModelError.ModelError({ provider: "openai", reason })).pipe(
          Effect.catchReason("ModelError", "RateLimited", ({ retryAfter }) =>
            Effect.succeed(`wait ${retryAfter === undefined ? "a while" : Duration.format(retryAfter)}`))
        )
      assert.strictEqual(yield* failing(new ModelError.RateLimited(details)), "wait a while")
      assert.strictEqual(
        yield* failing(new ModelError.RateLimited({ ...details, retryAfter: Duration.seconds(2) })),
        "wait 2s"
      )
      const other = yield* Effect.flip(failing(new ModelError.Timeout(details)))
      assert.strictEqual(other.reason._tag, "Timeout")
    }))

  it("is told from other errors", () => {
    const error = new ModelError.ModelError({ provider: "openai", reason: new ModelError.Timeout(details) })
    assert.isTrue(ModelError.isModelError(error))
    for (const other of [error.reason, new Error("x"), { _tag: "ModelError" }, undefined, null, "ModelError"]) {
      assert.isFalse(ModelError.isModelError(other))
    }
  })

  it("shows message and cause when it is printed", () => {
    const error = new ModelError.ModelError({ provider: "openai", reason: new ModelError.Authentication(details) })
    assert.include(Cause.pretty(Cause.fail(error)), "openai: Not authorised, check the API key: words")
  })

  it("refuses a status that is none", () => {
    assert.throws(() => new ModelError.Timeout({ ...details, status: 1.5 }))
  })
})
