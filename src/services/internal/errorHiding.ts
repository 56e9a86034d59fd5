import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

/** Makes the value that a log shows in place of a hidden field; `undefined` shows nothing. */
type Shown = Readonly<Record<string, (value: any) => unknown>>

/** An error of effect keeps a copy of its fields under this key. */
const argumentsKey = Symbol.for("effect/Data/Error/plainArgs")

const hide = (holder: unknown, field: string): void => {
  if (!Predicate.hasProperty(holder, field) || !Object.hasOwn(holder, field)) return
  const value = holder[field]
  Object.defineProperty(holder, field, { enumerable: false, get: () => value })
}

/**
 * `Schema.Error` for errors that hold parts of a conversation. Code reads every field and the Schema encodes it, but
 * `JSON.stringify`, `util.inspect` and loggers print only what `shown` makes of the fields that it names.
 *
 * The fields are not enumerable, because effect copies enumerable fields of an error to the ones that it logs. They are
 * getters, because `showHidden` of `util.inspect` prints a value, but not the result of a getter.
 *
 * @internal
 */
export const errorHiding = (shown: Shown): typeof Schema.Error => {
  const make = (identifier: string) => (fields: Schema.Struct.Fields) => {
    const Base = Schema.Error<any>(identifier)(fields) as unknown as new(...args: ReadonlyArray<unknown>) => Error
    return class extends Base {
      constructor(...args: ReadonlyArray<unknown>) {
        super(...args)
        for (const field of Object.keys(shown)) {
          hide(this, field)
          hide(Reflect.get(this, argumentsKey), field)
        }
      }
      toJSON(): unknown {
        const fields = this as unknown as Readonly<Record<string, unknown>>
        const hidden = Object.entries(shown).map(([field, show]) =>
          [field, Object.hasOwn(this, field) ? show(fields[field]) : undefined] as const
        )
        return Object.fromEntries([
          ...Object.entries(fields).filter(([field]) => !(field in shown)),
          ["message", this.message],
          ...hidden.filter(([, value]) => value !== undefined)
        ])
      }
    }
  }
  return make as unknown as typeof Schema.Error
}
