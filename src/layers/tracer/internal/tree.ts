import type { EndedSpan, Span } from "../../../services/Tracer.ts"

/** A span with what began inside it, in order of beginning. */
export interface Node {
  readonly span: Span
  ended: EndedSpan | undefined
  readonly children: Array<Node>
}

/** The trees that spans form; a span whose parent is not among them is a root. */
export const build = (started: ReadonlyArray<Span>, ended: ReadonlyArray<EndedSpan>): ReadonlyArray<Node> => {
  const ends = new Map(ended.map((span) => [span.spanId, span]))
  const nodes = new Map<string, Node>()
  for (const span of started) nodes.set(span.spanId, { span, ended: ends.get(span.spanId), children: [] })
  const roots: Array<Node> = []
  for (const node of nodes.values()) {
    const parent = node.span.parentId === undefined ? undefined : nodes.get(node.span.parentId)
    if (parent === undefined) roots.push(node)
    else parent.children.push(node)
  }
  return roots
}
