import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import {
  ExtensionError,
  type ExtensionErrorReason,
  ImpossibleStack,
  InvalidExtension,
  isExtensionError,
  LoadFailed,
  ProbeFailed,
  Unavailable
} from "../ExtensionError.ts"
import type { McpConnection } from "../McpServer.ts"
import * as McpServer from "../McpServer.ts"
import * as Session from "../Session.ts"
import type { Any, ExtensionKind, McpInstance, Needed, Place, RegistryEvent, Running } from "./extensionModel.ts"
import { type Plan, type Ready, titleOf } from "./extensionPlan.ts"
import { refuseService, tagOf } from "./extensionShape.ts"
import { buildHere } from "./sessionStack.ts"

export interface Surroundings {
  readonly layerOf: (kind: ExtensionKind, instance: string) => Layer.Layer<never, ExtensionError>
  readonly isConfigured: (kind: ExtensionKind, instance: string) => boolean
  readonly emit: (event: RegistryEvent) => Effect.Effect<void>
  readonly run: (running: Running) => Effect.Effect<void, never, Scope.Scope>
  readonly probeTimeoutMillis: number
}

type Built = Context.Context<never>

/** The services that are being built, outermost first: who asks for one of them would wait for itself. */
const Building = Context.Reference<ReadonlyArray<string>>("agent-layers/services/internal/extensionStack/Building", {
  defaultValue: () => []
})

const fail = (extension: Any, reason: ExtensionErrorReason): ExtensionError =>
  new ExtensionError({ extension: titleOf(extension.kind, extension.name), reason })

const messageOf = (u: unknown): string =>
  typeof u === "object" && u !== null && "message" in u && typeof u.message === "string" && u.message !== ""
    ? u.message
    : String(u)

const isUnsupported = (u: unknown): boolean =>
  typeof u === "object" && u !== null && "reason" in u &&
  typeof u.reason === "object" && u.reason !== null && "_tag" in u.reason && u.reason._tag === "Unsupported"

const serverOf = (instance: string): McpServer.McpServer<McpInstance, string> =>
  McpServer.Service<McpInstance>()(instance)

/** The questions that harm nobody. */
const probes: Partial<Record<ExtensionKind, (service: never) => Effect.Effect<unknown, unknown>>> = {
  session: (session: Session.Session["Service"]) => session.loadItems("agent-layers/health", { maxItems: 1 }),
  mcp: (connection: McpConnection) => connection.listTools
}

/** Why another than the chosen one may not stand in for it: it would hide a mistake. */
const mayDegrade = ({ reason }: ExtensionError): boolean =>
  reason._tag !== "NotFound" && reason._tag !== "ImpossibleStack" && reason._tag !== "InvalidSettings"

export const make = (surroundings: Surroundings) => {
  const { emit, isConfigured, layerOf, probeTimeoutMillis } = surroundings

  const other = (extension: Any, kind: ExtensionKind, instance: string): Layer.Layer<never, ExtensionError> =>
    Layer.effectContext(Effect.gen(function*() {
      const chain = yield* Building
      const key = `${kind}.${instance}`
      if (chain.includes(key)) {
        return yield* fail(
          extension,
          new ImpossibleStack({
            stack: [...chain, key],
            description: `"${instance}" would be built of itself`,
            doNext: "Name another instance"
          })
        )
      }
      return yield* buildHere(layerOf(kind, instance))
    }))

  const needed = Effect.fnUntraced(function*(
    extension: Any,
    need: Needed
  ): Effect.fn.Return<Built, ExtensionError, Scope.Scope> {
    if (!isConfigured(need, "default")) {
      return yield* fail(
        extension,
        new ImpossibleStack({
          stack: [extension.name],
          description: `it needs a ${need}, and none is configured`,
          doNext: `Configure one: ${need}: { use: … }`
        })
      )
    }
    return yield* buildHere(other(extension, need, "default"))
  })

  /** One layer over what stands inside of it, released with the scope, or at once where it fails. */
  const one = (
    { extension, values }: Ready,
    instance: string,
    inner: Built
  ): Effect.Effect<Built, ExtensionError, Scope.Scope> =>
    Effect.gen(function*() {
      const server = serverOf(instance)
      const place: Place<unknown> = {
        instance,
        server,
        of: (name) => other(extension, extension.kind, name) as Layer.Layer<unknown, ExtensionError>
      }
      const layer: unknown = yield* Effect.try({
        try: () => extension.layer(values as never, place),
        catch: (cause) =>
          fail(
            extension,
            new LoadFailed({ stage: "layer", description: `its \`layer\` threw: ${messageOf(cause)}`, cause })
          )
      })
      if (!Layer.isLayer(layer)) {
        return yield* fail(
          extension,
          new InvalidExtension({ member: "layer(settings)", expected: "a Layer", found: typeof layer })
        )
      }
      let context = inner
      for (const need of extension.needs) context = Context.merge(context, yield* needed(extension, need))
      const over: Layer.Layer<never, unknown> = Layer.provide(
        layer as Layer.Layer<unknown, unknown, never>,
        Layer.succeedContext(context)
      )
      const parent = yield* Effect.scope
      const scope = yield* Scope.fork(parent)
      // Tracers all register with the one tracer of the program; anything else is this instance's own.
      const built = yield* buildHere(extension.kind === "tracer" ? over : Layer.fresh(over)).pipe(
        Scope.provide(scope),
        Effect.onExit((exit) => Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void),
        Effect.catchCause((cause) => {
          if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
          const error = Cause.squash(cause)
          if (isExtensionError(error)) return Effect.fail(error)
          if (Cause.hasDies(cause)) {
            const description = `building its Layer threw: ${messageOf(error)}`
            return Effect.fail(fail(extension, new LoadFailed({ stage: "build", description, cause: error })))
          }
          const description = messageOf(error)
          return Effect.fail(fail(
            extension,
            extension.decorates && isUnsupported(error)
              ? new ImpossibleStack({
                stack: [extension.name],
                description,
                doNext: "Choose another backend, or leave this decorator out"
              })
              : new Unavailable({ description, cause: error })
          ))
        })
      )
      const refused = refuseService(extension.kind, tagOf(extension.kind, server), built)
      if (refused !== undefined) return yield* fail(extension, refused)
      return Context.merge(inner, built)
    })

  const pingOf = (
    extension: Any,
    instance: string,
    context: Built
  ): Effect.Effect<void, ExtensionError> | undefined => {
    const ask = extension.probe ?? probes[extension.kind]
    if (ask === undefined) return undefined
    const tag = tagOf(extension.kind, serverOf(instance))
    const service = tag === undefined ? undefined : context.mapUnsafe.get(tag.key)
    const failed = (description: string, cause?: unknown) =>
      fail(extension, new ProbeFailed({ description, ...(cause === undefined ? undefined : { cause }) }))
    return Effect.suspend(() => ask(service as never)).pipe(
      Effect.timeoutOrElse({
        duration: Duration.millis(probeTimeoutMillis),
        orElse: () => Effect.fail(failed(`no answer within ${probeTimeoutMillis / 1000} seconds`))
      }),
      Effect.catchCause((cause) => {
        if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
        const error = Cause.squash(cause)
        return Effect.fail(isExtensionError(error) ? error : failed(messageOf(error), error))
      }),
      Effect.asVoid
    )
  }

  const backendOf = Effect.fnUntraced(function*(
    ready: Ready,
    { instance, probe }: Plan
  ): Effect.fn.Return<Built, ExtensionError, Scope.Scope> {
    const context = yield* one(ready, instance, Context.empty())
    const ping = probe ? pingOf(ready.extension, instance, context) : undefined
    if (ping !== undefined) yield* ping
    return context
  })

  /** The whole stack, released with the scope. */
  const build = Effect.fnUntraced(function*(plan: Plan): Effect.fn.Return<Built, ExtensionError, Scope.Scope> {
    const { backend, fallback, instance, kind, wrap } = plan
    const since = yield* Clock.currentTimeMillis
    const use = "error" in backend ? backend.use : backend.extension.name

    const degrade = Effect.fnUntraced(function*(reason: ExtensionError) {
      if (fallback === undefined || !mayDegrade(reason)) return yield* reason
      const standIn = fallback.extension.name
      yield* Effect.logWarning(`The fallback "${standIn}" serves instead of ${titleOf(kind, use)}: ${reason.message}`)
      const context = yield* Effect.mapError(backendOf(fallback, plan), (error) =>
        new ExtensionError({
          extension: reason.extension,
          reason: new Unavailable({
            description: `${reason.reason.message}; and its fallback, ${error.message}`,
            cause: reason
          })
        }))
      yield* emit({ _tag: "Degraded", kind, instance, use: standIn, insteadOf: use, reason })
      return { context, ready: fallback, degraded: { since, insteadOf: use, reason } }
    })

    // A backend that is given up is closed before another takes its place.
    const scope = yield* Scope.fork(yield* Effect.scope)
    const served = yield* "error" in backend
      ? degrade(backend.error)
      : backendOf(backend, plan).pipe(
        Scope.provide(scope),
        Effect.onExit((exit) => Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void),
        Effect.map((context) => ({ context, ready: backend, degraded: undefined })),
        Effect.catch(degrade)
      )

    let { context } = served
    for (const decorator of wrap.toReversed()) context = yield* one(decorator, instance, context)
    if (kind === "session") {
      const session = Context.getUnsafe(context, Session.Session)
      if (session.capabilities.sealed === true) context = Context.add(context, Session.Sealed, session)
    }
    yield* surroundings.run({
      kind,
      instance,
      use: served.ready.extension.name,
      wrap: wrap.map(({ extension }) => extension.name),
      since,
      degraded: served.degraded,
      ping: pingOf(served.ready.extension, instance, served.context)
    })
    return context
  })

  return (plan: Plan): Effect.Effect<Built, ExtensionError, Scope.Scope> =>
    Effect.flatMap(
      Building,
      (chain) => Effect.provideService(build(plan), Building, [...chain, `${plan.kind}.${plan.instance}`])
    )
}
