const escape = (text: string): string => text.replaceAll(/[\\^$.+?()[\]{}|/]/g, String.raw`\$&`)

/** `*` stands for any characters; case does not matter, so that `*.pem` keeps out `KEY.PEM` too. */
export const matcher = (patterns: ReadonlyArray<string>): (name: string) => boolean => {
  if (patterns.length === 0) return () => false
  const sources = patterns.map((pattern) => pattern.split("*").map(escape).join(".*"))
  const expression = new RegExp(`^(?:${sources.join("|")})$`, "isu")
  return (name) => expression.test(name)
}
