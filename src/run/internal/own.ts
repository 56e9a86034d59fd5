/**
 * `T`, inferred from arguments alone: the list that a value is written in asks for `any`, which would stand for what no
 * argument says. `NoInfer` would show in the types of errors.
 */
export type Own<T> = [T] extends [infer U] ? U : never
