import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as SessionError from "../SessionError.ts"
import type { make } from "./session.ts"
import { checkId, maxIdLength } from "./session.ts"

type Service = ReturnType<typeof make>

/** Ends with the only slash, so that no tenant's prefix begins with another's. */
const prefixOf = (tenant: string): string => `${tenant.replaceAll("%", "%25").replaceAll("/", "%2F")}/`

/** A tenant takes its share of the characters that an id may have. */
const maxTenantLength = 128

/** @internal */
export const refuseTenant = (tenant: string): SessionError.SessionErrorReason | undefined => {
  const { length } = prefixOf(tenant)
  return checkId("tenant", tenant) ?? (length > maxTenantLength
    ? new SessionError.LimitExceeded({ limit: "Characters in the tenant", maximum: maxTenantLength, actual: length })
    : undefined)
}

/** @internal */
export const prefixed = (inner: Service, tenant: string): Service => {
  const prefix = prefixOf(tenant)

  /** Errors name the conversation as the caller does. */
  const named = (id: string) => ({ backend, operation, reason }: SessionError.SessionError) =>
    new SessionError.SessionError({ backend, operation, conversationId: id, reason })

  const refused = (operation: string, id: string): SessionError.SessionError | undefined => {
    const reason = checkId("conversation id", id) ??
      (prefix.length + id.length > maxIdLength
        ? new SessionError.LimitExceeded({
          limit: "Characters in the conversation id",
          maximum: maxIdLength - prefix.length,
          actual: id.length
        })
        : undefined)
    return reason && new SessionError.SessionError({ backend: "prefixed", operation, conversationId: id, reason })
  }

  const on = <A>(
    operation: string,
    id: string,
    use: (id: string) => Effect.Effect<A, SessionError.SessionError>
  ): Effect.Effect<A, SessionError.SessionError> => {
    const error = refused(operation, id)
    return error === undefined ? Effect.mapError(use(prefix + id), named(id)) : Effect.fail(error)
  }

  return {
    capabilities: inner.capabilities,
    loadItems: (id, options) => on("loadItems", id, (full) => inner.loadItems(full, options)),
    saveItems: (id, items, options) => on("saveItems", id, (full) => inner.saveItems(full, items, options)),
    rewrite: (id, options) => on("rewrite", id, (full) => inner.rewrite(full, options)),
    popItem: (id, options) => on("popItem", id, (full) => inner.popItem(full, options)),
    clear: (id) => on("clear", id, inner.clear),
    maintain: (id, options) => on("maintain", id, (full) => inner.maintain(full, options)),
    records: (id, options) => {
      const error = refused("records", id)
      return error === undefined
        ? Stream.mapError(inner.records(prefix + id, options), named(id))
        : Stream.fail(error)
    },
    conversations: (options) =>
      Stream.map(inner.conversations({ prefix: prefix + (options?.prefix ?? "") }), (found) => ({
        ...found,
        id: found.id.slice(prefix.length)
      }))
  }
}
