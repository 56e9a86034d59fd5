/**
 * Why an extension cannot be used. Every reason says what was wrong and what to do about it, in words for the operator
 * of a program; none of them quotes a secret.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

const TypeId = "~agent-layers/services/ExtensionError" as const
const ReasonTypeId = "~agent-layers/services/ExtensionError/Reason" as const

const quoted = (names: ReadonlyArray<string>): string => names.map((name) => `"${name}"`).join(", ")

/**
 * There is no such extension, instance or service.
 *
 * @category reasons
 * @since 0.1.0
 */
export class NotFound extends Schema.Error<NotFound>("agent-layers/services/ExtensionError/NotFound")({
  _tag: Schema.tag("NotFound"),
  /** What was looked for: `session extension`, `named session`, … */
  what: Schema.String,
  name: Schema.String,
  valid: Schema.Array(Schema.String),
  /** The valid name that is most like it. */
  nearest: Schema.optional(Schema.String),
  /** What to do where none of the valid names was meant. */
  doNext: Schema.optional(Schema.String)
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  override get message(): string {
    const guess = this.nearest === undefined ? "" : `; did you mean "${this.nearest}"?`
    const others = this.valid.length === 0 ? "There is none" : `There are: ${quoted(this.valid)}`
    const next = this.doNext === undefined ? "" : `. ${this.doNext}`
    return `there is no ${this.what} "${this.name}"${guess === "" ? ". " : `${guess} `}${others}${next}`
  }
}

/**
 * Made for another version of agent-layers, or of a package that it needs.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Incompatible extends Schema.Error<Incompatible>("agent-layers/services/ExtensionError/Incompatible")({
  _tag: Schema.tag("Incompatible"),
  /** The package whose version is at odds. */
  package: Schema.String,
  required: Schema.String,
  found: Schema.String,
  doNext: Schema.String
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  override get message(): string {
    return `it works with ${this.package} ${this.required}, and this is ${this.found}. ${this.doNext}`
  }
}

/**
 * One thing that is wrong in settings or in a configuration.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Issue = Schema.Struct({
  /** Where: `session.wrap[0].settings.keys`. */
  path: Schema.String,
  /** What is wrong, and what to do about it. */
  message: Schema.String,
  /** The tag of the reason, where it is not about a setting. */
  reason: Schema.optional(Schema.String)
})

/**
 * @category models
 * @since 0.1.0
 */
export interface Issue extends Schema.Schema.Type<typeof Issue> {}

/**
 * All that is wrong in settings or in a configuration, at once.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidSettings
  extends Schema.Error<InvalidSettings>("agent-layers/services/ExtensionError/InvalidSettings")({
    _tag: Schema.tag("InvalidSettings"),
    issues: Schema.Array(Issue)
  })
{
  readonly [ReasonTypeId] = ReasonTypeId
  override get message(): string {
    const [first, ...others] = this.issues
    if (first === undefined) return "invalid settings"
    const line = ({ message, path }: Issue) => path === "" ? message : `${path}: ${message}`
    return others.length === 0
      ? line(first)
      : `${this.issues.length} things are wrong:\n${this.issues.map((issue) => `  ${line(issue)}`).join("\n")}`
  }
}

/**
 * What an extension exports, says in its manifest or provides has another shape than it should.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidExtension
  extends Schema.Error<InvalidExtension>("agent-layers/services/ExtensionError/InvalidExtension")({
    _tag: Schema.tag("InvalidExtension"),
    member: Schema.String,
    expected: Schema.String,
    found: Schema.String
  })
{
  readonly [ReasonTypeId] = ReasonTypeId
  override get message(): string {
    return `\`${this.member}\` should be ${this.expected}, and is ${this.found}. That is for its author to mend`
  }
}

/**
 * A module or a file could not be loaded, or an extension threw where it should have answered with a Layer.
 *
 * @category reasons
 * @since 0.1.0
 */
export class LoadFailed extends Schema.Error<LoadFailed>("agent-layers/services/ExtensionError/LoadFailed")({
  _tag: Schema.tag("LoadFailed"),
  /** Reading a file, importing a module, calling `layer`, or building the Layer. */
  stage: Schema.Literals(["read", "import", "layer", "build"]),
  description: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  override get message(): string {
    return this.description
  }
}

/**
 * Two extensions of one kind have the same name.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Duplicate extends Schema.Error<Duplicate>("agent-layers/services/ExtensionError/Duplicate")({
  _tag: Schema.tag("Duplicate"),
  /** Where they come from: the one that stays, and the one that was refused. */
  origins: Schema.Array(Schema.String)
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  override get message(): string {
    return `the name is taken: by ${this.origins.join(" and by ")}. Register one of them only, or give one another name`
  }
}

/**
 * The process would hold a package twice, so that services made with one copy are not those of the other.
 *
 * @category reasons
 * @since 0.1.0
 */
export class SecondCopy extends Schema.Error<SecondCopy>("agent-layers/services/ExtensionError/SecondCopy")({
  _tag: Schema.tag("SecondCopy"),
  package: Schema.String,
  /** `4.1.0 in /app/node_modules/effect`: this program's copy, and the extension's. */
  copies: Schema.Array(Schema.String)
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  override get message(): string {
    return `it brings a second copy of ${this.package} (${
      this.copies.join("; ")
    }), and a Layer made with one copy does ` +
      `not provide a service of the other. Its author has to list ${this.package} under peerDependencies and not under ` +
      `dependencies; here, \`npm dedupe\` helps where the versions agree`
  }
}

/**
 * It was built, and did not work when it was tried out.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ProbeFailed extends Schema.Error<ProbeFailed>("agent-layers/services/ExtensionError/ProbeFailed")({
  _tag: Schema.tag("ProbeFailed"),
  description: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  override get message(): string {
    return `it was built, but does not answer: ${this.description}`
  }
}

/**
 * A package that it needs is not installed.
 *
 * @category reasons
 * @since 0.1.0
 */
export class MissingPackage
  extends Schema.Error<MissingPackage>("agent-layers/services/ExtensionError/MissingPackage")({
    _tag: Schema.tag("MissingPackage"),
    package: Schema.String,
    range: Schema.String
  })
{
  readonly [ReasonTypeId] = ReasonTypeId
  override get message(): string {
    return `it needs the package "${this.package}". Install it: npm install ${this.package}@"${this.range}"`
  }
}

/**
 * These layers cannot stand in this order, or not on each other at all.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ImpossibleStack
  extends Schema.Error<ImpossibleStack>("agent-layers/services/ExtensionError/ImpossibleStack")({
    _tag: Schema.tag("ImpossibleStack"),
    /** Outermost first, the backend last. */
    stack: Schema.Array(Schema.String),
    description: Schema.String,
    doNext: Schema.String
  })
{
  readonly [ReasonTypeId] = ReasonTypeId
  override get message(): string {
    return `the stack ${this.stack.join(" > ")} is impossible: ${this.description}. ${this.doNext}`
  }
}

/**
 * The Layer failed while it was built: a server that cannot be reached, credentials that are refused.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unavailable extends Schema.Error<Unavailable>("agent-layers/services/ExtensionError/Unavailable")({
  _tag: Schema.tag("Unavailable"),
  description: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  override get message(): string {
    return this.description
  }
}

/**
 * @category schemas
 * @since 0.1.0
 */
export const ExtensionErrorReason = Schema.Union([
  NotFound,
  Incompatible,
  InvalidSettings,
  InvalidExtension,
  LoadFailed,
  Duplicate,
  SecondCopy,
  ProbeFailed,
  MissingPackage,
  ImpossibleStack,
  Unavailable
])

/**
 * @category models
 * @since 0.1.0
 */
export type ExtensionErrorReason = typeof ExtensionErrorReason.Type

/**
 * An extension cannot be used. Recover from single reasons with
 * `Effect.catchReason("ExtensionError", "MissingPackage", …)`.
 *
 * @category errors
 * @since 0.1.0
 */
export class ExtensionError extends Schema.Error<ExtensionError>("agent-layers/services/ExtensionError")({
  _tag: Schema.tag("ExtensionError"),
  /** Which: `session "postgres"`, a file, a package. */
  extension: Schema.String,
  reason: ExtensionErrorReason
}) {
  readonly [TypeId] = TypeId
  override readonly cause = this.reason
  override get message(): string {
    return `${this.extension}: ${this.reason.message}`
  }
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isExtensionError = (u: unknown): u is ExtensionError => Predicate.hasProperty(u, TypeId)

/**
 * @category guards
 * @since 0.1.0
 */
export const isExtensionErrorReason = (u: unknown): u is ExtensionErrorReason => Predicate.hasProperty(u, ReasonTypeId)
