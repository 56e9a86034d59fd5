/**
 * A strict S3 for tests: an HTTP server on loopback with one bucket in memory, path style. It checks the signature and
 * the hash of each request, honours `If-Match` and `If-None-Match`, lists in small pages, answers errors as XML, and can
 * fail, cut, delay and lose its answers.
 */
import { Effect, type Scope } from "effect"
import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { check, encode, type Refusal } from "./signature.ts"

export type { Refusal } from "./signature.ts"

export interface S3Request {
  readonly method: string
  /** Decoded; empty for the bucket itself. */
  readonly key: string
  readonly query: ReadonlyMap<string, string>
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: string
  /** `undefined` until it is answered. */
  readonly status: number | undefined
  /** The code of the error that was answered. */
  readonly code: string | undefined
}

export interface S3Object {
  readonly body: Buffer
  readonly etag: string
  readonly modified: number
  readonly type: string
}

export interface Fault {
  /** Which requests; default: all. */
  readonly when?: (request: S3Request) => boolean
  /** How many of those pass first. Default: 0. */
  readonly skip?: number
  /** How many then fail. Default: 1. */
  readonly times?: number
  /**
   * `cut`: the connection breaks and nothing is done. `lose`: it is done, and then the connection breaks. `hang`: it is
   * done and never answered. `ignore`: conditions are not looked at. A status: that error and nothing is done.
   */
  readonly kind: "cut" | "lose" | "hang" | "ignore" | Refusal
  /** Before anything else, in milliseconds. */
  readonly delay?: number
}

export const slowDown: Refusal = { status: 503, code: "SlowDown", message: "Please reduce your request rate." }
export const internalError: Refusal = {
  status: 500,
  code: "InternalError",
  message: "We encountered an internal error. Please try again."
}
export const conflict: Refusal = {
  status: 409,
  code: "ConditionalRequestConflict",
  message: "The conditional request cannot succeed due to a conflicting operation against this resource."
}

export interface S3PeerOptions {
  /** Keys to a page of a listing. Default: 100. */
  readonly pageSize?: number
  readonly sessionToken?: string
  /** How far the server's clock is ahead, in milliseconds. Default: 0. */
  readonly clockOffset?: number
  /** Milliseconds before each answer. Default: 0. */
  readonly latency?: number
}

export interface S3Peer {
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  readonly bucket: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string | undefined
  readonly requests: ReadonlyArray<S3Request>
  /** What is stored, by key; may be changed to damage it. */
  readonly objects: Map<string, S3Object>
  readonly put: (key: string, body: string) => void
  readonly text: (key: string) => string
  /** Adds a fault and gives a function that takes it away. */
  readonly fault: (fault: Fault) => () => void
  /** How many connections are open. */
  readonly connections: () => number
}

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

const escape = (text: string): string => text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)

const element = (name: string, value: string | number | boolean): string =>
  `<${name}>${escape(String(value))}</${name}>`

const md5 = (body: Buffer): Buffer => createHash("md5").update(body).digest()

const object = (body: Buffer, modified: number, type: string): S3Object => ({
  body,
  etag: `"${md5(body).toString("hex")}"`,
  modified,
  type
})

const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))

const refusal = (status: number, code: string, message: string): Refusal => ({ status, code, message })

interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer | string
  readonly code?: string
}

const known = {
  put: new Set(["x-id"]),
  get: new Set(["x-id"]),
  list: new Set(["list-type", "prefix", "delimiter", "start-after", "continuation-token", "max-keys", "encoding-type"])
}

let peers = 0

class Peer {
  readonly bucket = "bucket-of-tests"
  readonly region = "eu-test-1"
  readonly accessKeyId = "AKIAPEER"
  readonly secretAccessKey = `secret/of+the+peer/${peers++}`
  readonly requests: Array<Mutable<S3Request>> = []
  readonly objects = new Map<string, S3Object>()
  readonly faults = new Set<{ readonly fault: Fault; seen: number }>()
  readonly sockets = new Set<Socket>()
  readonly timers = new Set<ReturnType<typeof setTimeout>>()
  readonly options: S3PeerOptions
  readonly server = createServer((req, res) => this.accept(req, res))

  constructor(options: S3PeerOptions) {
    this.options = options
    this.server.on("connection", (socket) => {
      this.sockets.add(socket)
      socket.on("close", () => this.sockets.delete(socket))
    })
  }

  now(): number {
    return Date.now() + (this.options.clockOffset ?? 0)
  }

  later(millis: number, run: () => void): void {
    if (millis === 0) return run()
    const timer = setTimeout(() => {
      this.timers.delete(timer)
      run()
    }, millis)
    this.timers.add(timer)
  }

  accept(req: IncomingMessage, res: ServerResponse): void {
    const chunks: Array<Buffer> = []
    req.on("data", (chunk: Buffer) => chunks.push(chunk))
    req.on("end", () => {
      const body = Buffer.concat(chunks)
      const [path = "", query = ""] = (req.url ?? "").split("?", 2)
      const request: Mutable<S3Request> = {
        method: req.method ?? "",
        key: decodeURIComponent(path.split("/").slice(2).join("/")),
        query: new Map(new URLSearchParams(query)),
        headers: req.headers,
        body: body.toString("utf8"),
        status: undefined,
        code: undefined
      }
      this.requests.push(request)
      const fault = this.faultFor(request)
      this.later((this.options.latency ?? 0) + (fault?.delay ?? 0), () => {
        if (fault?.kind === "cut") {
          res.destroy()
          return
        }
        const refused = typeof fault?.kind === "object"
          ? fault.kind
          : this.judge(path, req, request, body)
        const answer = refused === undefined ? this.perform(request, body, fault?.kind === "ignore") : failed(refused)
        request.status = answer.status
        request.code = answer.code
        if (fault?.kind === "lose") res.destroy()
        else if (fault?.kind !== "hang") this.send(request, res, answer)
      })
    })
  }

  faultFor(request: S3Request): Fault | undefined {
    for (const one of this.faults) {
      const { kind, skip = 0, times = 1, when } = one.fault
      if (when !== undefined && !when(request)) continue
      const place = one.seen++
      if (place >= skip && place < skip + times) return { ...one.fault, kind }
    }
    return undefined
  }

  judge(path: string, req: IncomingMessage, request: S3Request, body: Buffer): Refusal | undefined {
    const signed = { method: request.method, url: req.url ?? "", headers: req.headers, body }
    const refused = check(signed, {
      accessKeyId: this.accessKeyId,
      secretAccessKey: this.secretAccessKey,
      sessionToken: this.options.sessionToken,
      region: this.region
    }, this.now())
    if (refused !== undefined) return refused
    if (path.split("/")[1] !== this.bucket) {
      return refusal(404, "NoSuchBucket", "The specified bucket does not exist")
    }
    if (Buffer.byteLength(request.key) > 1024) return refusal(400, "KeyTooLongError", "Your key is too long")
    if (request.key !== "" && request.key.split("/").some((part) => part === "" || part === "." || part === "..")) {
      return refusal(400, "InvalidURI", "Couldn't parse the specified URI.")
    }
    const allowed = request.key === "" ? known.list : request.method === "PUT" ? known.put : known.get
    for (const name of request.query.keys()) {
      if (!allowed.has(name)) return refusal(501, "NotImplemented", `The peer does not know the parameter ${name}`)
    }
    return undefined
  }

  perform(request: S3Request, body: Buffer, isLax: boolean): Answer {
    const { key, method } = request
    if (key === "") {
      return method === "GET" && request.query.get("list-type") === "2"
        ? this.list(request)
        : failed(refusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource."))
    }
    switch (method) {
      case "PUT":
        return this.store(request, body, isLax)
      case "GET":
      case "HEAD":
        return this.read(request)
      case "DELETE":
        this.objects.delete(key)
        return { status: 204 }
      default:
        return failed(refusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource."))
    }
  }

  store({ headers, key }: S3Request, body: Buffer, isLax: boolean): Answer {
    const { "content-length": length, "content-md5": digest, "if-match": match, "if-none-match": noneMatch } = headers
    if (length === undefined) {
      return failed(refusal(411, "MissingContentLength", "You must provide the Content-Length HTTP header."))
    }
    if (digest !== undefined && digest !== md5(body).toString("base64")) {
      return failed(refusal(400, "BadDigest", "The Content-MD5 you specified did not match what we received."))
    }
    const there = this.objects.get(key)
    if (!isLax) {
      if ((noneMatch !== undefined && noneMatch !== "*") || (match !== undefined && noneMatch !== undefined)) {
        return failed(refusal(501, "NotImplemented", "A header you provided implies functionality that is not there."))
      }
      if (noneMatch !== undefined && there !== undefined) return failed(preconditionFailed)
      if (match !== undefined) {
        if (there === undefined) return failed(noSuchKey)
        if (match !== there.etag) return failed(preconditionFailed)
      }
    }
    const stored = object(body, this.now(), String(headers["content-type"] ?? "binary/octet-stream"))
    this.objects.set(key, stored)
    return { status: 200, headers: { etag: stored.etag } }
  }

  read({ headers, key }: S3Request): Answer {
    const there = this.objects.get(key)
    if (there === undefined) return failed(noSuchKey)
    const facts = {
      etag: there.etag,
      "last-modified": new Date(there.modified).toUTCString(),
      "content-type": there.type
    }
    if (headers["if-match"] !== undefined && headers["if-match"] !== there.etag) return failed(preconditionFailed)
    if (headers["if-none-match"] === there.etag) return { status: 304, headers: facts }
    return { status: 200, headers: facts, body: there.body }
  }

  list({ query }: S3Request): Answer {
    const prefix = query.get("prefix") ?? ""
    const delimiter = query.get("delimiter") ?? ""
    const token = query.get("continuation-token")
    const after = token === undefined ? query.get("start-after") ?? "" : Buffer.from(token, "base64url").toString()
    const url = query.get("encoding-type") === "url"
    const limit = Math.min(Number(query.get("max-keys") ?? 1_000), this.options.pageSize ?? 100)
    const show = (key: string): string => url ? encode(key).replaceAll("%2F", "/") : escape(key)
    const found: Array<string> = []
    let last = ""
    let isCut = false
    const folders = new Set<string>()
    for (const key of [...this.objects.keys()].sort(compare)) {
      if (!key.startsWith(prefix) || compare(key, after) <= 0) continue
      const end = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length)
      const folder = end < 0 ? undefined : key.slice(0, end + delimiter.length)
      if (folder !== undefined && (folders.has(folder) || compare(folder, after) <= 0)) continue
      if (found.length === limit) {
        isCut = true
        break
      }
      if (folder === undefined) {
        const { body, etag, modified } = this.objects.get(key)!
        found.push(
          `<Contents><Key>${show(key)}</Key>${element("LastModified", new Date(modified).toISOString())}`
            + `${element("ETag", etag)}${element("Size", body.length)}${element("StorageClass", "STANDARD")}</Contents>`
        )
        last = key
      } else {
        folders.add(folder)
        found.push(`<CommonPrefixes><Prefix>${show(folder)}</Prefix></CommonPrefixes>`)
        last = folder
      }
    }
    const body = [
      `<?xml version="1.0" encoding="UTF-8"?>`,
      `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`,
      element("Name", this.bucket),
      `<Prefix>${show(prefix)}</Prefix>`,
      element("KeyCount", found.length),
      element("MaxKeys", limit),
      element("IsTruncated", isCut),
      ...(isCut ? [element("NextContinuationToken", Buffer.from(last).toString("base64url"))] : []),
      ...(url ? [element("EncodingType", "url")] : []),
      ...found,
      "</ListBucketResult>"
    ].join("")
    return { status: 200, headers: { "content-type": "application/xml" }, body }
  }

  send(request: S3Request, res: ServerResponse, answer: Answer): void {
    const body = request.method === "HEAD" ? undefined : answer.body
    const length = answer.status === 204 || answer.status === 304
      ? {}
      : { "content-length": String(Buffer.byteLength(answer.body ?? "")) }
    res.writeHead(answer.status, {
      "x-amz-request-id": `request-${this.requests.length}`,
      date: new Date(this.now()).toUTCString(),
      ...length,
      ...answer.headers
    })
    res.end(body)
  }
}

const preconditionFailed = refusal(
  412,
  "PreconditionFailed",
  "At least one of the pre-conditions you specified did not hold"
)
const noSuchKey = refusal(404, "NoSuchKey", "The specified key does not exist.")

const failed = ({ code, message, status }: Refusal): Answer => ({
  status,
  code,
  headers: { "content-type": "application/xml" },
  body: `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${element("Code", code)}${element("Message", message)}`
    + `${element("RequestId", "request")}</Error>`
})

export const makeWith = (options: S3PeerOptions): Effect.Effect<S3Peer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Peer>((resume) => {
      const peer = new Peer(options)
      peer.server.listen(0, "127.0.0.1", () => resume(Effect.succeed(peer)))
    }),
    (peer) =>
      Effect.callback<void>((resume) => {
        for (const timer of peer.timers) clearTimeout(timer)
        for (const socket of peer.sockets) socket.destroy()
        peer.server.close(() => resume(Effect.void))
      })
  ).pipe(Effect.map((peer): S3Peer => ({
    url: `http://127.0.0.1:${(peer.server.address() as AddressInfo).port}`,
    bucket: peer.bucket,
    region: peer.region,
    accessKeyId: peer.accessKeyId,
    secretAccessKey: peer.secretAccessKey,
    sessionToken: options.sessionToken,
    requests: peer.requests,
    objects: peer.objects,
    put: (key, body) => {
      peer.objects.set(key, object(Buffer.from(body), peer.now(), "binary/octet-stream"))
    },
    text: (key) => peer.objects.get(key)!.body.toString("utf8"),
    fault: (fault) => {
      const added = { fault, seen: 0 }
      peer.faults.add(added)
      return () => {
        peer.faults.delete(added)
      }
    },
    connections: () => peer.sockets.size
  })))

export const make: Effect.Effect<S3Peer, never, Scope.Scope> = makeWith({})
