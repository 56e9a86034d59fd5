import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import {
  Duplicate,
  ExtensionError,
  Incompatible,
  InvalidExtension,
  InvalidSettings,
  NotFound
} from "../ExtensionError.ts"
import { compare } from "./extensionCompatibility.ts"
import {
  aliases,
  type Any,
  type Candidate,
  type ExtensionKind,
  ExtensionKind as Kinds,
  type KindName,
  type Listed,
  type Registry,
  type RegistryEvent,
  type Running
} from "./extensionModel.ts"
import * as plans from "./extensionPlan.ts"
import { check } from "./extensionShape.ts"
import * as stacks from "./extensionStack.ts"
import { nearest } from "./nearest.ts"

export interface Options {
  readonly version: string
  readonly installed: plans.Needs["installed"]
  readonly probeTimeoutMillis: number
}

interface Entry {
  readonly candidate: Omit<Candidate, "load" | "location">
  readonly location: string | undefined
  readonly load: Effect.Effect<unknown, ExtensionError> | undefined
  extension: Any | undefined
}

const quote = (value: string | boolean): string => typeof value === "string" ? `"${value}"` : String(value)

const keyOf = (kind: ExtensionKind, name: string): string => `${kind}/${name}`

const byName = (a: Listed, b: Listed): number =>
  Kinds.literals.indexOf(a.kind) - Kinds.literals.indexOf(b.kind) || a.name.localeCompare(b.name, "en")

/** @internal */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Registry, never, Scope.Scope> {
  const entries = new Map<string, Entry>()
  const planned = new Map<string, plans.Plan>()
  const layers = new Map<string, Layer.Layer<never, ExtensionError>>()
  const running = new Set<Running>()
  const events = yield* Effect.acquireRelease(PubSub.sliding<RegistryEvent>(256), PubSub.shutdown)
  const emit = (event: RegistryEvent) => Effect.asVoid(PubSub.publish(events, event))

  const kindNames: ReadonlyArray<string> = [...Kinds.literals, ...Object.keys(aliases)]
  const kindOf = (kind: string): Effect.Effect<ExtensionKind, ExtensionError> => {
    const known = Object.hasOwn(aliases, kind) ? aliases[kind] : Kinds.literals.find((literal) => literal === kind)
    return known === undefined
      ? Effect.fail(
        new ExtensionError({
          extension: kind,
          reason: new NotFound({
            what: "kind of extension",
            name: kind,
            valid: [...Kinds.literals],
            nearest: nearest(kind, kindNames)
          })
        })
      )
      : Effect.succeed(known)
  }

  const add = (
    kind: ExtensionKind,
    name: string,
    entry: Entry
  ): Effect.Effect<void, ExtensionError, Scope.Scope> => {
    const key = keyOf(kind, name)
    const { origin } = entry.candidate
    return Effect.asVoid(Effect.acquireRelease(
      Effect.suspend(() => {
        const taken = entries.get(key)
        if (taken !== undefined) {
          return Effect.fail(
            new ExtensionError({
              extension: plans.titleOf(kind, name),
              reason: new Duplicate({ origins: [taken.candidate.origin, origin] })
            })
          )
        }
        entries.set(key, entry)
        return emit({ _tag: "Registered", kind, name, origin })
      }),
      () =>
        Effect.suspend(() => {
          entries.delete(key)
          return emit({ _tag: "Removed", kind, name, origin })
        })
    ))
  }

  const namesOf = (kind: ExtensionKind, decorates: boolean | undefined): ReadonlyArray<string> =>
    [...entries.values()]
      .filter(({ candidate }) => candidate.kind === kind && (decorates ?? candidate.decorates) === candidate.decorates)
      .map(({ candidate }) => candidate.name)
      .sort()

  const checkVersion = ({ candidate }: Entry): Effect.Effect<void, ExtensionError> => {
    const found = compare("agent-layers", candidate.compatibleWith, options.version, `"${candidate.name}"`)
    return found._tag === "Compatible"
      ? Effect.void
      : Effect.fail(
        new ExtensionError({
          extension: plans.titleOf(candidate.kind, candidate.name),
          reason: new Incompatible({ package: "agent-layers", ...found })
        })
      )
  }

  const loaded = Effect.fnUntraced(function*(entry: Entry): Effect.fn.Return<Any, ExtensionError> {
    yield* checkVersion(entry)
    if (entry.extension !== undefined || entry.load === undefined) return entry.extension!
    const { candidate } = entry
    const title = `${plans.titleOf(candidate.kind, candidate.name)} of ${candidate.origin}`
    const extension = yield* Effect.fromResult(check(yield* entry.load, title))
    for (const member of ["kind", "name", "decorates"] as const) {
      if (extension[member] === candidate[member]) continue
      return yield* new ExtensionError({
        extension: title,
        reason: new InvalidExtension({
          member,
          expected: `${quote(candidate[member])}, as the manifest says`,
          found: quote(extension[member])
        })
      })
    }
    entry.extension = extension
    yield* checkVersion({ ...entry, candidate: { ...candidate, compatibleWith: extension.compatibleWith } })
    yield* emit({ _tag: "Loaded", kind: candidate.kind, name: candidate.name, origin: candidate.origin })
    return extension
  })

  const find = Effect.fnUntraced(function*(
    kind: ExtensionKind,
    name: string,
    /** Which names to offer where there is none of that name. Absent: all. */
    decorates?: boolean
  ): Effect.fn.Return<Any, ExtensionError> {
    const entry = entries.get(keyOf(kind, name))
    if (entry !== undefined) return yield* loaded(entry)
    const valid = namesOf(kind, decorates)
    const elsewhere = Kinds.literals.find((other) => other !== kind && entries.has(keyOf(other, name)))
    return yield* new ExtensionError({
      extension: plans.titleOf(kind, name),
      reason: new NotFound({
        what: `${kind} extension`,
        name,
        valid,
        nearest: nearest(name, valid),
        doNext: elsewhere === undefined
          ? "One of another package has to be installed as a dependency of this project"
          : `"${name}" is an extension of kind ${elsewhere}`
      })
    })
  })

  const planOf = Effect.fnUntraced(function*(
    kind: ExtensionKind,
    instance: string
  ): Effect.fn.Return<plans.Plan, ExtensionError> {
    const plan = planned.get(keyOf(kind, instance))
    if (plan !== undefined) return plan
    const valid = [...planned.values()].filter((other) => other.kind === kind).map((other) => other.instance)
    return yield* new ExtensionError({
      extension: kind,
      reason: new NotFound({
        what: `configured ${kind}`,
        name: instance,
        valid,
        nearest: nearest(instance, valid),
        doNext: `Configure it: ${kind}: { use: … } in the configuration file, or the variable ` +
          `AGENT_LAYERS_${kind.toUpperCase()}`
      })
    })
  })

  const build = stacks.make({
    layerOf: (kind, instance) => layerOf(kind, instance),
    isConfigured: (kind, instance) => planned.has(keyOf(kind, instance)),
    emit,
    run: (one) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.suspend(() => {
          running.add(one)
          return emit({ _tag: "Built", kind: one.kind, instance: one.instance, use: one.use })
        }),
        () =>
          Effect.suspend(() => {
            running.delete(one)
            return emit({ _tag: "Released", kind: one.kind, instance: one.instance, use: one.use })
          })
      )),
    probeTimeoutMillis: options.probeTimeoutMillis
  })

  const layerOf = (kind: ExtensionKind, instance: string): Layer.Layer<never, ExtensionError> => {
    const key = keyOf(kind, instance)
    const known = layers.get(key)
    if (known !== undefined) return known
    const layer = Layer.effectContext(Effect.flatMap(planOf(kind, instance), build)) as Layer.Layer<
      never,
      ExtensionError
    >
    layers.set(key, layer)
    return layer
  }

  return {
    register: (extension, { origin = "this program" } = {}) =>
      Effect.flatMap(
        Effect.fromResult(check(extension, `an extension of this program`)),
        (extension) =>
          add(extension.kind, extension.name, {
            candidate: { ...extension, origin },
            location: undefined,
            load: undefined,
            extension
          })
      ),
    registerCandidate: (candidate) =>
      add(candidate.kind, candidate.name, {
        candidate,
        location: candidate.location,
        load: candidate.load,
        extension: undefined
      }),
    list: Effect.sync(() =>
      [...entries.values()].map(({ candidate, extension }): Listed => ({
        kind: candidate.kind,
        name: candidate.name,
        version: candidate.version,
        compatibleWith: candidate.compatibleWith,
        compatibility: compare("agent-layers", candidate.compatibleWith, options.version, `"${candidate.name}"`),
        description: candidate.description,
        decorates: candidate.decorates,
        origin: candidate.origin,
        extension
      })).sort(byName)
    ),
    get: (kind, name) => Effect.flatMap(kindOf(kind), (kind) => find(kind, name)),
    configure: Effect.fnUntraced(function*(name, entry, { instance = "default", path } = {}) {
      const kind = yield* kindOf(name)
      const at = path ?? (instance === "default" ? kind : `${kind}.${instance}`)
      if (!/^[A-Za-z][\w-]*$/.test(instance)) {
        return yield* new ExtensionError({
          extension: at,
          reason: new InvalidSettings({
            issues: [{ path: at, message: `the name of an instance has letters, digits, "_" and "-" only` }]
          })
        })
      }
      const plan = yield* plans.make(
        {
          find,
          location: (kind, name) => entries.get(keyOf(kind, name))?.location,
          installed: options.installed
        },
        kind,
        instance,
        entry,
        at
      )
      planned.set(keyOf(kind, instance), plan)
      const { backend } = plan
      yield* emit({
        _tag: "Configured",
        kind,
        instance,
        use: "error" in backend ? backend.use : backend.extension.name
      })
    }),
    instances: (name) =>
      Effect.map(
        kindOf(name),
        (kind) => [...planned.values()].filter((plan) => plan.kind === kind).map(({ instance }) => instance)
      ).pipe(Effect.orElseSucceed(() => [])),
    settings: Effect.fnUntraced(function*(name, instance = "default") {
      const { shown } = yield* planOf(yield* kindOf(name), instance)
      return shown
    }),
    layer: (name: KindName, instance = "default") =>
      layerOf(Object.hasOwn(aliases, name) ? aliases[name]! : name as ExtensionKind, instance) as Layer.Layer<
        never,
        ExtensionError
      > as never,
    toolkit: Effect.fnUntraced(function*(instance = "default") {
      const { backend } = yield* planOf("tool", instance)
      if ("error" in backend) return yield* backend.error
      return backend.extension.toolkit!
    }),
    running: Effect.sync(() => [...running]),
    events: Stream.fromPubSub(events)
  }
})
