import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { MaintainOptions } from "../../Session.ts"
import { Session } from "../../Session.ts"
import type { Law } from "../Law.ts"
import { equal } from "../Law.ts"
import { texts } from "./sessionSubject.ts"

/**
 * The subject of the laws of decorators: a decorator, and a session to put it on.
 *
 * @category models
 * @since 0.1.0
 */
export interface DecoratorSubject {
  readonly decorator: Layer.Layer<Session, unknown, Session>
  readonly below: Effect.Effect<Session["Service"], unknown, Scope.Scope>
}

/** @internal */
export const decoratorLaws: ReadonlyArray<Law<DecoratorSubject>> = [
  {
    name: "maintain reaches the session below once, with the reason for it",
    check: ({ below, decorator }) =>
      Effect.gen(function*() {
        const inner = yield* below
        const reasons: Array<MaintainOptions["reason"]> = []
        const watched: Session["Service"] = {
          ...inner,
          maintain: (id, options) =>
            Effect.andThen(Effect.sync(() => reasons.push(options?.reason)), inner.maintain(id, options))
        }
        const built = yield* Layer.build(Layer.provide(decorator, Layer.succeed(Session, watched)))
        const session = Context.get(built, Session)
        yield* session.saveItems("laws/maintain", texts("1", "2", "3"))
        yield* session.maintain("laws/maintain", { reason: "overflow" })
        yield* session.maintain("laws/maintain")
        yield* equal("the reasons that the session below was given", reasons, ["overflow", undefined])
      })
  }
]
