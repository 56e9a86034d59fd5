import type { ModelSettings } from "../../services/ModelProvider.ts"

/** What the run says wins, field by field. */
export const mergeSettings = (
  agent: ModelSettings | undefined,
  run: ModelSettings | undefined
): ModelSettings | undefined => {
  if (agent === undefined || run === undefined) return run ?? agent
  const defined = Object.entries(run).filter(([, value]) => value !== undefined)
  return { ...agent, ...Object.fromEntries(defined) }
}
