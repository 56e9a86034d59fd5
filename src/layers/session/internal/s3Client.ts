/**
 * The few requests that are made of a bucket, through the official client. Each is made once; who calls decides what is
 * worth another try.
 */
import type { GetObjectCommandOutput, S3Client } from "@aws-sdk/client-s3"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Secrets from "../../../services/internal/secrets.ts"
import * as SessionError from "../../../services/SessionError.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: Redacted.Redacted
  /** Of credentials that are given for a time. */
  readonly sessionToken?: Redacted.Redacted | undefined
}

/** @internal */
export interface ClientOptions {
  readonly bucket: string
  readonly endpoint: string | undefined
  readonly region: string | undefined
  readonly credentials: S3Credentials | undefined
  readonly forcePathStyle: boolean | undefined
  readonly requestTimeout: Duration.Duration
}

/**
 * A request that failed. Private to the store, which tells its callers the reason.
 *
 * @internal
 */
export class S3Failure {
  readonly _tag = "S3Failure"
  readonly reason: SessionError.SessionErrorReason
  /** Another try may go better. */
  readonly isTransient: boolean
  /** It may have been done all the same. */
  readonly isUncertain: boolean
  constructor(reason: SessionError.SessionErrorReason, isTransient: boolean, isUncertain: boolean) {
    this.reason = reason
    this.isTransient = isTransient
    this.isUncertain = isUncertain
  }
}

/**
 * What must hold for an object to be written.
 *
 * @internal
 */
export type Condition = { readonly ifMatch: string } | { readonly ifNoneMatch: "*" }

/** @internal */
export interface Client {
  readonly get: (key: string) => Effect.Effect<{ readonly body: string; readonly etag: string } | undefined, S3Failure>
  /** The ETag, or `undefined` where the condition did not hold. */
  readonly put: (key: string, body: string, condition: Condition) => Effect.Effect<string | undefined, S3Failure>
  readonly remove: (key: string) => Effect.Effect<void, S3Failure>
  /** Keys in the order of their bytes. */
  readonly list: (
    options: { readonly prefix: string; readonly after?: string | undefined; readonly token?: string | undefined }
  ) => Effect.Effect<{ readonly keys: ReadonlyArray<string>; readonly token: string | undefined }, S3Failure>
  readonly sha256: (text: string) => string
  /** A text that nobody else makes. */
  readonly nonce: () => string
}

interface Thrown {
  readonly name?: unknown
  readonly message?: unknown
  readonly code?: unknown
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string }
}

const textOf = (u: unknown): string | undefined => typeof u === "string" && u !== "" ? u : undefined

/** Nothing was sent. */
const neverSent = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "CredentialsProviderError"])

const busy = new Set([
  "ConditionalRequestConflict",
  "OperationAborted",
  "SlowDown",
  "ServiceUnavailable",
  "Throttling",
  "RequestTimeout",
  "RequestTimeTooSkewed"
])

/** Whether the server said no before it did anything. */
const isRefusal = (status: number, name: string): boolean => status < 500 || name === "SlowDown"

const advice: Readonly<Record<string, string>> = {
  NoSuchBucket: "create it, or check bucket, region and endpoint",
  AccessDenied: "the credentials need s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket",
  InvalidAccessKeyId: "check credentials",
  SignatureDoesNotMatch: "check credentials and region",
  InvalidToken: "check credentials.sessionToken",
  ExpiredToken: "get new credentials",
  AuthorizationHeaderMalformed: "check region",
  PermanentRedirect: "the bucket is in another region",
  CredentialsProviderError: "pass credentials, or set them up for the client's default chain"
}

/** How a rejection of the client is told. Its own errors hold headers and what was signed, and are not passed on. */
const failureOf = (thrown: Thrown, what: string, scrub: (text: string) => string): S3Failure => {
  const status = thrown.$metadata?.httpStatusCode
  const name = textOf(thrown.name) ?? "Error"
  const code = textOf(thrown.code)
  const requestId = textOf(thrown.$metadata?.requestId)
  const said = scrub(textOf(thrown.message) ?? "no reason was given")
  const hint = advice[name]
  const label = scrub(code ?? name)
  const description = `${what} failed: ${said.includes(label) ? "" : `${label}: `}${said}` +
    (status === undefined ? "" : ` (status ${status})`) + (hint === undefined ? "" : `; ${hint}`)
  if (status === 501) {
    return new S3Failure(
      new SessionError.Unsupported({ description: `${description}. SessionS3 needs a store with conditional writes` }),
      false,
      false
    )
  }
  const cause = {
    name: scrub(name),
    message: said,
    ...(status === undefined ? {} : { status }),
    ...(requestId === undefined ? {} : { requestId: scrub(requestId) })
  }
  const wasNotDone = status === undefined ? neverSent.has(code ?? name) : isRefusal(status, name)
  return new S3Failure(
    new SessionError.Unavailable({ description, isOutcomeUnknown: false, cause }),
    status === undefined ? name !== "CredentialsProviderError" : status >= 500 || status === 429 || busy.has(name),
    !wasNotDone
  )
}

const invalid = (description: string) => Effect.fail(new SessionError.InvalidInput({ description }))

/**
 * A client that is destroyed with its scope. Makes no request.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*(
  options: ClientOptions
): Effect.fn.Return<Client, SessionError.SessionErrorReason, Scope.Scope> {
  const { bucket, credentials, endpoint, requestTimeout } = options
  if (bucket === "") return yield* invalid("bucket is empty; pass the name of a bucket")
  if (endpoint !== undefined && !/^https?:$/.test(URL.canParse(endpoint) ? new URL(endpoint).protocol : "")) {
    return yield* invalid("endpoint is no address of a server, such as https://storage.example")
  }
  const secret = credentials === undefined ? undefined : Redacted.value(credentials.secretAccessKey)
  const token = credentials?.sessionToken === undefined ? undefined : Redacted.value(credentials.sessionToken)
  if (secret === "" || credentials?.accessKeyId === "") {
    return yield* invalid("credentials has an empty accessKeyId or secretAccessKey")
  }
  const { scrub } = Secrets.make([secret ?? "", token ?? "", ...Secrets.ofUrl(endpoint ?? "")])

  const aws = yield* Effect.tryPromise({
    try: () => import("@aws-sdk/client-s3"),
    catch: (cause) =>
      new SessionError.Unsupported({
        description: "the package `@aws-sdk/client-s3` cannot be loaded; install it next to agent-layers: " +
          `npm install @aws-sdk/client-s3 (${cause instanceof Error ? cause.message : String(cause)})`
      })
  })
  const crypto = yield* Effect.promise(() => import("node:crypto"))

  const client: S3Client = yield* Effect.acquireRelease(
    Effect.sync(() =>
      new aws.S3Client({
        maxAttempts: 1,
        // What is sent is signed, so that it needs no checksum of its own; not every server knows those.
        requestChecksumCalculation: "WHEN_REQUIRED",
        responseChecksumValidation: "WHEN_REQUIRED",
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(options.region === undefined
          ? endpoint === undefined ? {} : { region: "us-east-1" }
          : { region: options.region }),
        ...(options.forcePathStyle === undefined ? {} : { forcePathStyle: options.forcePathStyle }),
        ...(credentials === undefined || secret === undefined ? {} : {
          credentials: {
            accessKeyId: credentials.accessKeyId,
            secretAccessKey: secret,
            ...(token === undefined ? {} : { sessionToken: token })
          }
        })
      })
    ),
    (client) => Effect.sync(() => client.destroy())
  )

  const request = <A>(
    what: string,
    send: (signal: AbortSignal) => Promise<A>,
    characters = 0
  ): Effect.Effect<A, S3Failure> => {
    // A second more for each million characters: a large object takes its time.
    const duration = Duration.sum(requestTimeout, Duration.seconds(characters / 1_000_000))
    return Effect.timeoutOrElse(
      Effect.tryPromise({ try: send, catch: (cause) => failureOf(cause as Thrown, what, scrub) }),
      {
        duration,
        orElse: () =>
          Effect.fail(
            new S3Failure(
              new SessionError.Unavailable({
                description: `${what} failed: no answer within ${Duration.format(duration)}`,
                isOutcomeUnknown: false
              }),
              true,
              true
            )
          )
      }
    )
  }

  const statusOf = (thrown: unknown): number | undefined => (thrown as Thrown).$metadata?.httpStatusCode

  const bodyOf = (answer: GetObjectCommandOutput) =>
    (answer.Body?.transformToString("utf-8") ?? Promise.resolve("")).then((body) => ({ body, etag: answer.ETag ?? "" }))

  return {
    get: (key) =>
      request(
        `GET ${key}`,
        (abortSignal) =>
          client.send(new aws.GetObjectCommand({ Bucket: bucket, Key: key }), { abortSignal }).then(
            bodyOf,
            (thrown: unknown) => {
              if (statusOf(thrown) === 404 && (thrown as Thrown).name !== "NoSuchBucket") return undefined
              throw thrown
            }
          )
      ),
    put: (key, body, condition) =>
      request(
        `PUT ${key}`,
        (abortSignal) =>
          client.send(
            new aws.PutObjectCommand({
              Bucket: bucket,
              Key: key,
              Body: body,
              ContentType: "application/x-ndjson; charset=utf-8",
              ...("ifMatch" in condition ? { IfMatch: condition.ifMatch } : { IfNoneMatch: condition.ifNoneMatch })
            }),
            { abortSignal }
          ).then(
            (answer) => answer.ETag ?? "",
            (thrown: unknown) => {
              const status = statusOf(thrown)
              // 404: there is nothing that could match.
              if (
                status === 412 ||
                (status === 404 && "ifMatch" in condition && (thrown as Thrown).name !== "NoSuchBucket")
              ) return undefined
              throw thrown
            }
          ),
        body.length
      ),
    remove: (key) =>
      Effect.asVoid(
        request(`DELETE ${key}`, (abortSignal) =>
          client.send(new aws.DeleteObjectCommand({ Bucket: bucket, Key: key }), { abortSignal }))
      ),
    list: ({ after, prefix, token }) =>
      request(`LIST ${prefix}`, (abortSignal) =>
        client.send(
          new aws.ListObjectsV2Command({
            Bucket: bucket,
            Prefix: prefix,
            ...(after === undefined ? {} : { StartAfter: after }),
            ...(token === undefined ? {} : { ContinuationToken: token })
          }),
          { abortSignal }
        ).then((answer) => ({
          keys: (answer.Contents ?? []).flatMap(({ Key }) => Key === undefined ? [] : [Key]),
          token: answer.IsTruncated === true ? answer.NextContinuationToken : undefined
        }))),
    sha256: (text) => crypto.createHash("sha256").update(text).digest("hex"),
    nonce: () => crypto.randomBytes(9).toString("base64url")
  }
})

/**
 * Tries of one request, the first among them.
 *
 * @internal
 */
export const maxTries = 5

/**
 * Exponential from 50 ms to 2 s, somewhere between half and the whole of it.
 *
 * @internal
 */
export const pause = (tries: number): Effect.Effect<void> =>
  Effect.flatMap(Random.next, (random) => Effect.sleep(Math.min(2_000, 25 * 2 ** tries) * (0.5 + random / 2)))

/**
 * Tries again what may go better, a few times.
 *
 * @internal
 */
export const trying = <A>(effect: Effect.Effect<A, S3Failure>): Effect.Effect<A, SessionError.SessionErrorReason> => {
  const attempt = (tries: number): Effect.Effect<A, SessionError.SessionErrorReason> =>
    Effect.catch(effect, (failure) =>
      failure.isTransient && tries < maxTries
        ? Effect.andThen(pause(tries), attempt(tries + 1))
        : Effect.fail(failure.reason))
  return attempt(1)
}
