/** An OTLP/HTTP collector that takes JSON and protobuf, and refuses what the protocol does not allow. */
import type * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import { Effect } from "effect"
import * as assert from "node:assert"
import * as peer from "./peer.ts"

export interface OtlpSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly kind: number
  readonly start: bigint
  readonly end: bigint
  readonly attributes: Record<string, unknown>
  readonly events: ReadonlyArray<{ readonly name: string; readonly attributes: Record<string, unknown> }>
  readonly status: { readonly code: number; readonly message: string | undefined }
  readonly resource: Record<string, unknown>
}

// JSON: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding

const anyValue = (value: any): unknown => {
  const keys = Object.keys(value)
  assert.strictEqual(keys.length, 1, `one value, not ${JSON.stringify(value)}`)
  switch (keys[0]) {
    case "stringValue":
      assert.strictEqual(typeof value.stringValue, "string")
      return value.stringValue
    case "boolValue":
      assert.strictEqual(typeof value.boolValue, "boolean")
      return value.boolValue
    case "intValue":
      return Number(value.intValue)
    case "doubleValue":
      return Number(value.doubleValue)
    case "arrayValue":
      return value.arrayValue.values.map(anyValue)
    default:
      return assert.fail(`unknown value ${JSON.stringify(value)}`)
  }
}

const attributes = (list: any): Record<string, unknown> =>
  Object.fromEntries(list.map(({ key, value }: any) => [key, anyValue(value)]))

const fromJson = (body: any): ReadonlyArray<OtlpSpan> =>
  body.resourceSpans.flatMap(({ resource, scopeSpans }: any) =>
    scopeSpans.flatMap(({ scope, spans }: any) => {
      assert.strictEqual(typeof scope.name, "string")
      return spans.map((span: any): OtlpSpan => ({
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId,
        name: span.name,
        kind: span.kind,
        start: BigInt(span.startTimeUnixNano),
        end: BigInt(span.endTimeUnixNano),
        attributes: attributes(span.attributes),
        events: span.events.map((event: any) => ({ name: event.name, attributes: attributes(event.attributes) })),
        status: { code: span.status.code ?? 0, message: span.status.message },
        resource: attributes(resource.attributes)
      }))
    })
  )

// Protobuf: https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto

type Field = bigint | Buffer

const fields = (bytes: Buffer): Map<number, Array<Field>> => {
  const out = new Map<number, Array<Field>>()
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n;; shift += 7n) {
      const byte = bytes[at++]
      assert.ok(byte !== undefined, "a varint ends")
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  while (at < bytes.length) {
    const tag = Number(varint())
    const wire = tag & 7
    let field: Field
    if (wire === 0) field = varint()
    else if (wire === 1) field = bytes.readBigUInt64LE((at += 8) - 8)
    else if (wire === 5) field = BigInt(bytes.readUInt32LE((at += 4) - 4))
    else {
      assert.strictEqual(wire, 2, "a known wire type")
      const length = Number(varint())
      field = bytes.subarray(at, at += length)
      assert.ok(at <= bytes.length, "a field ends within its message")
    }
    out.set(tag >> 3, [...out.get(tag >> 3) ?? [], field])
  }
  return out
}

const messages = (of: Map<number, Array<Field>>, number: number) =>
  (of.get(number) ?? []).map((one) => fields(one as Buffer))
const text = (of: Map<number, Array<Field>>, number: number) =>
  (of.get(number)?.at(-1) as Buffer | undefined)?.toString("utf8")
const hex = (of: Map<number, Array<Field>>, number: number) =>
  (of.get(number)?.at(-1) as Buffer | undefined)?.toString("hex")
const integer = (of: Map<number, Array<Field>>, number: number) => of.get(number)?.at(-1) as bigint | undefined

const protoValue = (of: Map<number, Array<Field>>): unknown => {
  if (of.has(1)) return text(of, 1)
  if (of.has(2)) return integer(of, 2) === 1n
  if (of.has(3)) return Number(BigInt.asIntN(64, integer(of, 3)!))
  if (of.has(4)) {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(integer(of, 4)!)
    return bytes.readDoubleLE()
  }
  if (of.has(5)) return messages(messages(of, 5)[0]!, 1).map(protoValue)
  return ""
}

const protoAttributes = (of: Map<number, Array<Field>>, number: number): Record<string, unknown> =>
  Object.fromEntries(messages(of, number).map((pair) => [text(pair, 1), protoValue(messages(pair, 2)[0]!)]))

const fromProtobuf = (body: Buffer): ReadonlyArray<OtlpSpan> =>
  messages(fields(body), 1).flatMap((resourceSpans) => {
    const resource = protoAttributes(messages(resourceSpans, 1)[0]!, 1)
    return messages(resourceSpans, 2).flatMap((scopeSpans) =>
      messages(scopeSpans, 2).map((span): OtlpSpan => {
        const [status] = messages(span, 15)
        return {
          traceId: hex(span, 1)!,
          spanId: hex(span, 2)!,
          parentSpanId: hex(span, 4),
          name: text(span, 5)!,
          kind: Number(integer(span, 6)),
          start: integer(span, 7)!,
          end: integer(span, 8)!,
          attributes: protoAttributes(span, 9),
          events: messages(span, 11).map((event) => ({ name: text(event, 2)!, attributes: protoAttributes(event, 3) })),
          status: {
            code: status === undefined ? 0 : Number(integer(status, 3) ?? 0n),
            message: status === undefined ? undefined : text(status, 2)
          },
          resource
        }
      })
    )
  })

const check = (span: OtlpSpan): void => {
  assert.match(span.traceId, /^(?!0{32})[0-9a-f]{32}$/)
  assert.match(span.spanId, /^(?!0{16})[0-9a-f]{16}$/)
  if (span.parentSpanId !== undefined) assert.match(span.parentSpanId, /^[0-9a-f]{16}$/)
  assert.ok(span.name.length > 0)
  assert.ok(span.kind >= 1 && span.kind <= 5)
  assert.ok(span.end >= span.start && span.start > 0n)
  assert.ok([0, 1, 2].includes(span.status.code))
  assert.strictEqual(typeof span.resource["service.name"], "string")
}

/** Until the scope closes. */
export const start = Effect.gen(function*() {
  const spans: Array<OtlpSpan> = []
  const collector = yield* peer.start(({ body, headers, method, path }) => {
    assert.strictEqual(method, "POST")
    assert.strictEqual(path.split("?")[0], "/v1/traces")
    const type = headers["content-type"]
    assert.ok(type === "application/json" || type === "application/x-protobuf", type)
    const found = type === "application/json" ? fromJson(JSON.parse(body.toString("utf8"))) : fromProtobuf(body)
    for (const span of found) check(span)
    spans.push(...found)
  })
  return Object.assign(collector, { spans, url: `${collector.origin}/v1/traces` })
})

export const toSeen = (spans: ReadonlyArray<OtlpSpan>): ReadonlyArray<TracerLaws.Seen> => {
  const names = new Map(spans.map(({ name, spanId }) => [spanId, name]))
  return spans.map((span) => ({
    name: span.name,
    parent: span.parentSpanId === undefined ? undefined : names.get(span.parentSpanId),
    outcome: span.status.code === 2
      ? "failed"
      : span.attributes["effect.fiber.interrupted"] === true
      ? "interrupted"
      : "succeeded",
    text: JSON.stringify([span.attributes, span.events, span.status]),
    millis: Number(span.end - span.start) / 1e6,
    traceId: span.traceId,
    parentId: span.parentSpanId
  }))
}
