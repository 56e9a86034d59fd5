/** Checks AWS Signature Version 4 of a request as S3 does, and says why it refuses one. */
import { createHash, createHmac, timingSafeEqual } from "node:crypto"
import type { IncomingHttpHeaders } from "node:http"

export interface Signed {
  readonly method: string
  /** As it came over the wire: path and query. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Secret {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string | undefined
  readonly region: string
}

export interface Refusal {
  readonly status: number
  readonly code: string
  readonly message: string
}

const sha256 = (data: string | Buffer): string => createHash("sha256").update(data).digest("hex")
const hmac = (key: string | Buffer, data: string): Buffer => createHmac("sha256", key).update(data).digest()

/** RFC 3986, as the signature wants it. */
export const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

const canonicalQuery = (query: string): string =>
  query === "" ? "" : query.split("&").map((pair) => {
    const [name = "", value = ""] = pair.split("=", 2)
    return `${encode(decodeURIComponent(name))}=${encode(decodeURIComponent(value))}`
  }).sort().join("&")

const denied = (code: string, message: string, status = 403): Refusal => ({ status, code, message })

const authorization =
  /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/

const maxSkew = 15 * 60 * 1_000

const timeOf = (stamp: string): number =>
  Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"))

export const check = (request: Signed, secret: Secret, now: number): Refusal | undefined => {
  const { body, headers, method, url } = request
  if (headers.authorization === undefined) return denied("AccessDenied", "Anonymous access is forbidden")
  const parts = authorization.exec(headers.authorization)
  if (parts === null) return denied("AuthorizationHeaderMalformed", "The authorization header is malformed", 400)
  const [, accessKeyId, day, region, signedHeaders, signature] = parts as unknown as Array<string>
  if (accessKeyId !== secret.accessKeyId) {
    return denied("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
  }
  if (region !== secret.region) {
    return denied("AuthorizationHeaderMalformed", `The region '${region}' is wrong; expecting '${secret.region}'`, 400)
  }
  if (secret.sessionToken !== headers["x-amz-security-token"]) {
    return denied("InvalidToken", "The provided token is malformed or otherwise invalid.", 400)
  }
  const stamp = headers["x-amz-date"]
  if (typeof stamp !== "string" || !stamp.startsWith(day!)) {
    return denied("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
  }
  if (Math.abs(timeOf(stamp) - now) > maxSkew) {
    return denied("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
  }
  const names = signedHeaders!.split(";")
  const mustBeSigned = Object.keys(headers).filter((name) => name === "host" || name.startsWith("x-amz-"))
  for (const name of mustBeSigned) {
    if (!names.includes(name)) {
      return denied("AccessDenied", `There were headers present in the request which were not signed: ${name}`)
    }
  }
  const payload = headers["x-amz-content-sha256"]
  if (payload !== sha256(body)) {
    return denied("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' does not match what was sent.", 400)
  }
  const [path = "", query = ""] = url.split("?", 2)
  const canonical = [
    method,
    decodeURIComponent(path).split("/").map(encode).join("/"),
    canonicalQuery(query),
    ...names.map((name) => `${name}:${String(headers[name] ?? "").trim().replace(/ +/g, " ")}`),
    "",
    signedHeaders,
    payload
  ].join("\n")
  const scope = `${day}/${region}/s3/aws4_request`
  const text = ["AWS4-HMAC-SHA256", stamp, scope, sha256(canonical)].join("\n")
  const key = hmac(hmac(hmac(hmac(`AWS4${secret.secretAccessKey}`, day!), region), "s3"), "aws4_request")
  return timingSafeEqual(hmac(key, text), Buffer.from(signature!, "hex"))
    ? undefined
    : denied(
      "SignatureDoesNotMatch",
      "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    )
}
