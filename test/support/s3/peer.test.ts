import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client
} from "@aws-sdk/client-s3"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as S3Peer from "./S3Peer.ts"
import { check } from "./signature.ts"

const clientOf = (peer: S3Peer.S3Peer, secretAccessKey = peer.secretAccessKey) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      new S3Client({
        endpoint: peer.url,
        region: peer.region,
        forcePathStyle: true,
        maxAttempts: 1,
        credentials: { accessKeyId: peer.accessKeyId, secretAccessKey }
      })
    ),
    (client) => Effect.sync(() => client.destroy())
  )

interface Refused {
  readonly name: string
  readonly $metadata: { readonly httpStatusCode?: number }
}

const refused = (run: () => Promise<unknown>) =>
  Effect.map(
    Effect.flip(Effect.tryPromise({ try: run, catch: (error) => error as Refused })),
    (error) => [error.$metadata.httpStatusCode, error.name] as const
  )

describe("S3Peer", () => {
  it.live("writes on conditions, as S3 does", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const client = yield* clientOf(peer)
      const put =
        (Key: string, Body: string, condition: { readonly IfMatch?: string; readonly IfNoneMatch?: string }) => () =>
          client.send(new PutObjectCommand({ Bucket: peer.bucket, Key, Body, ...condition }))
      const first = yield* Effect.promise(put("a", "1", { IfNoneMatch: "*" }))
      assert.match(first.ETag!, /^"[0-9a-f]{32}"$/)
      assert.deepStrictEqual(yield* refused(put("a", "2", { IfNoneMatch: "*" })), [412, "PreconditionFailed"])
      assert.deepStrictEqual(yield* refused(put("b", "2", { IfMatch: first.ETag! })), [404, "NoSuchKey"])
      assert.deepStrictEqual((yield* refused(put("a", "2", { IfNoneMatch: first.ETag! })))[0], 501)
      const second = yield* Effect.promise(put("a", "2", { IfMatch: first.ETag! }))
      assert.deepStrictEqual(yield* refused(put("a", "3", { IfMatch: first.ETag! })), [412, "PreconditionFailed"])
      assert.strictEqual(peer.text("a"), "2")
      const get = () => client.send(new GetObjectCommand({ Bucket: peer.bucket, Key: "a" }))
      const { Body, ETag } = yield* Effect.promise(get)
      assert.strictEqual(ETag, second.ETag)
      assert.strictEqual(yield* Effect.promise(() => Body!.transformToString()), "2")
      const head = yield* Effect.promise(() => client.send(new HeadObjectCommand({ Bucket: peer.bucket, Key: "a" })))
      assert.strictEqual(head.ContentLength, 1)
      const same = () => client.send(new GetObjectCommand({ Bucket: peer.bucket, Key: "a", IfNoneMatch: ETag! }))
      assert.strictEqual((yield* refused(same))[0], 304)
      yield* Effect.promise(() => client.send(new DeleteObjectCommand({ Bucket: peer.bucket, Key: "a" })))
      assert.deepStrictEqual(yield* refused(get), [404, "NoSuchKey"])
    }))

  it.live("lists in pages, in the order of bytes, with folders and odd keys", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.makeWith({ pageSize: 2 })
      const client = yield* clientOf(peer)
      const keys = ["p/a b+c", "p/a&b", "p/x/1", "p/x/2", "p/é", "p/😀", "p/\uffee", "q"]
      for (const key of keys) peer.put(key, key)
      const list = (options: object) =>
        Effect.gen(function*() {
          const found: Array<string> = []
          let ContinuationToken: string | undefined
          do {
            const page = yield* Effect.promise(() =>
              client.send(
                new ListObjectsV2Command({
                  Bucket: peer.bucket,
                  Prefix: "p/",
                  ...options,
                  ...(ContinuationToken === undefined ? {} : { ContinuationToken })
                })
              )
            )
            assert.isAtMost(page.KeyCount!, 2)
            for (const { Key } of page.Contents ?? []) found.push(Key!)
            for (const { Prefix } of page.CommonPrefixes ?? []) found.push(Prefix!)
            ContinuationToken = page.NextContinuationToken
          } while (ContinuationToken !== undefined)
          return found
        })
      const sorted = ["p/a b+c", "p/a&b", "p/x/1", "p/x/2", "p/é", "p/\uffee", "p/😀"]
      assert.deepStrictEqual(yield* list({}), sorted)
      assert.deepStrictEqual(yield* list({ StartAfter: "p/x/1" }), sorted.slice(3))
      assert.deepStrictEqual(
        (yield* list({ Delimiter: "/" })).sort(),
        [...sorted.filter((key) => !key.includes("/x/")), "p/x/"].sort()
      )
    }))

  it.live("lets nobody in without the right signature over what was sent", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const wrong = yield* clientOf(peer, "wrong")
      const put = (client: S3Client, Bucket: string, Key: string) => () =>
        client.send(new PutObjectCommand({ Bucket, Key, Body: "x" }))
      assert.deepStrictEqual(yield* refused(put(wrong, peer.bucket, "a")), [403, "SignatureDoesNotMatch"])
      const client = yield* clientOf(peer)
      assert.deepStrictEqual(yield* refused(put(client, "other", "a")), [404, "NoSuchBucket"])
      assert.strictEqual((yield* refused(put(client, peer.bucket, "x".repeat(1_025))))[1], "KeyTooLongError")
      assert.strictEqual(peer.objects.size, 0)
      const anonymous = yield* Effect.promise(() => fetch(`${peer.url}/${peer.bucket}/a`))
      assert.strictEqual(anonymous.status, 403)

      yield* Effect.promise(put(client, peer.bucket, "a key/ü"))
      const { body, headers, method } = peer.requests.at(-1)!
      const secret = { ...peer, sessionToken: undefined }
      const sent = {
        method,
        url: `/${peer.bucket}/a%20key/%C3%BC?x-id=PutObject`,
        headers: headers as Record<string, string>,
        body: Buffer.from(body)
      }
      assert.strictEqual(check(sent, secret, Date.now()), undefined)
      const changed: ReadonlyArray<readonly [object, string]> = [
        [{ body: Buffer.from("y") }, "XAmzContentSHA256Mismatch"],
        [{ url: sent.url.replace("key", "kez") }, "SignatureDoesNotMatch"],
        [{ method: "DELETE" }, "SignatureDoesNotMatch"],
        [{ headers: { ...sent.headers, "x-amz-meta-a": "b" } }, "AccessDenied"],
        [{ headers: { ...sent.headers, host: "elsewhere" } }, "SignatureDoesNotMatch"]
      ]
      for (const [change, code] of changed) {
        assert.strictEqual(check({ ...sent, ...change }, secret, Date.now())?.code, code)
      }
      assert.strictEqual(check(sent, secret, Date.now() + 1_000_000)?.code, "RequestTimeTooSkewed")
    }))
})
