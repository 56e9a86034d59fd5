/**
 * Which browsers' requests are answered. A page reaches a local server by DNS rebinding (a foreign `Host`) or by a
 * request across origins (`Origin`, `Sec-Fetch-Site`); neither needs a key. CORS lets the pages of listed origins in.
 */
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { type Refusal, refuse } from "./problem.ts"

export interface Options {
  readonly hosts?: "any" | ReadonlyArray<string> | undefined
  readonly origins?: ReadonlyArray<string> | undefined
}

type Request = HttpServerRequest.HttpServerRequest

type Headers = Readonly<Record<string, string>>

export interface Guard {
  /** Why a request is not answered. */
  readonly refusal: (request: Request) => Refusal | undefined
  /** The CORS headers of the answer. */
  readonly headers: (request: Request) => Headers
  /** The answer to a preflight request for a path with these methods; `undefined` for any other request. */
  readonly preflight: (request: Request, methods: ReadonlyArray<string>) => Headers | undefined
}

/** The name in a `Host`, without its port: lower case, no dot at the end. */
export const hostnameOf = (host: string): string | undefined => {
  const name = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d*)?$/i.exec(host)?.[1]?.toLowerCase()
  return name === undefined || name === "." ? undefined : name.replace(/\.$/, "")
}

/** An origin as browsers write it. `null`, a pattern and an address with a path are not origins. */
export const originOf = (text: string): string | undefined => {
  const [, scheme, authority] = /^([a-z][a-z0-9+.-]*):\/\/([a-z0-9._:[\]-]+)\/?$/i.exec(text) ?? []
  if (scheme === undefined || authority === undefined) return undefined
  if (!/^https?$/i.test(scheme)) return `${scheme}://${authority}`.toLowerCase()
  return URL.canParse(text) ? new URL(text).origin : undefined
}

const addressOf = (name: string): NetAddress.IpAddress | undefined =>
  Result.getOrUndefined(NetAddress.ipFromString(name.replace(/^\[(.*)\]$/, "$1").replace(/^::ffff:(?=\d+\.)/i, "")))

const isLoopbackAddress = (name: string): boolean => {
  const address = addressOf(name)
  return address !== undefined && NetAddress.isLoopback(address)
}

/** Whether a name or an address means this machine, wherever it is used. */
export const isLoopback = (name: string): boolean => name === "localhost" || isLoopbackAddress(name)

const isOnLoopback = ({ address }: HttpServer.HttpServer["Service"]): boolean =>
  NetAddress.isInetAddress(address) && NetAddress.isLoopback(address.address)

/** Node keeps the first of several. A proxy in front may have judged another one. */
const hasSeveralHosts = ({ source }: Request): boolean =>
  Predicate.hasProperty(source, "rawHeaders") && Array.isArray(source.rawHeaders) &&
  source.rawHeaders.filter((name, index) => index % 2 === 0 && String(name).toLowerCase() === "host").length > 1

/** Whether an origin is the one that a request with this `Host` went to. The scheme may have changed at a proxy. */
const isSameOrigin = (origin: string, host: string): boolean => {
  const scheme = origin.slice(0, origin.indexOf("://") + 3)
  return originOf(`${scheme}${host}`) === origin
}

const foreignHost = refuse(
  403,
  "foreign-host",
  "The Host of the request is not a name of this server. Use localhost or its address, or have the name added to the " +
    "hosts of the server."
)

const foreignOrigin = refuse(
  403,
  "foreign-origin",
  "The page that sent the request is of another origin. Have the origin added to the origins of the server."
)

const varying = { vary: "Origin" }

const exposed = "location, preference-applied, retry-after, www-authenticate, x-should-retry"

const isTokenList = (text: string): boolean => /^[\w!#$%&'*+.^`|~, -]*$/.test(text)

const checked = <A>(texts: ReadonlyArray<string>, read: (text: string) => A | undefined, what: string) =>
  Effect.forEach(texts, (text) => {
    const found = read(text)
    return found === undefined ? Effect.die(new Error(`${JSON.stringify(text)} is not ${what}`)) : Effect.succeed(found)
  })

/** `isTrusted`: every request proves by a key whose it is, which a foreign page cannot. */
export const make = Effect.fnUntraced(function*(options: Options, isTrusted = false) {
  const server = Option.getOrUndefined(yield* Effect.serviceOption(HttpServer.HttpServer))
  const given = options.hosts ?? (isTrusted ? "any" : undefined)
  const hosts = new Set(
    given === undefined || given === "any"
      ? []
      : yield* checked(given, hostnameOf, "a host name. Name it without scheme and path, such as \"example.com\"")
  )
  const origins = new Set(
    yield* checked(options.origins ?? [], originOf, "an origin. Name it like \"https://app.example.com\"")
  )

  /** In a server that this Layer does not know, the peer of a request decides. */
  const isLocal = (request: Request): boolean =>
    server === undefined
      ? Option.match(request.peerAddress, { onNone: () => false, onSome: isLoopbackAddress })
      : isOnLoopback(server)

  const isGuarded = (request: Request): boolean => given === undefined ? isLocal(request) : given !== "any"

  /** A name can be rebound, an address cannot; yet a server on a loopback address has no other one. */
  const isOwn = (name: string, request: Request): boolean =>
    isLoopback(name) || hosts.has(name) || (addressOf(name) !== undefined && !isLocal(request))

  /** The listed origin that a request comes from. */
  const listed = ({ headers }: Request): string | undefined => {
    const origin = origins.size === 0 ? undefined : originOf(headers["origin"] ?? "")
    return origin !== undefined && origins.has(origin) ? origin : undefined
  }

  const isForeignPage = (request: Request, host: string): boolean => {
    if (listed(request) !== undefined) return false
    const { origin, "sec-fetch-site": site } = request.headers
    if (site !== undefined && site !== "same-origin" && site !== "none") return true
    if (origin === undefined) return false
    const from = originOf(origin)
    return from === undefined || !isSameOrigin(from, host)
  }

  const headers = (request: Request): Headers => {
    const origin = listed(request)
    return origin === undefined ? varying : {
      ...varying,
      "access-control-allow-origin": request.headers["origin"]!,
      "access-control-allow-credentials": "true",
      "access-control-expose-headers": exposed
    }
  }

  const guard: Guard = {
    refusal: (request) => {
      if (!isGuarded(request)) return undefined
      const host = request.headers["host"] ?? ""
      const name = hasSeveralHosts(request) ? undefined : hostnameOf(host)
      return name === undefined || !isOwn(name, request)
        ? foreignHost
        : isForeignPage(request, host)
        ? foreignOrigin
        : undefined
    },
    headers,
    preflight: (request, methods) => {
      const { "access-control-request-headers": asked = "", "access-control-request-private-network": isPrivate } =
        request.headers
      return request.headers["access-control-request-method"] === undefined || listed(request) === undefined
        ? undefined
        : {
          "access-control-allow-methods": methods.join(", "),
          "access-control-max-age": "600",
          ...(asked === "" || !isTokenList(asked) ? undefined : { "access-control-allow-headers": asked }),
          ...(isPrivate === "true" ? { "access-control-allow-private-network": "true" } : undefined)
        }
    }
  }
  return guard
})
