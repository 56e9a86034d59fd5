/**
 * Everything to test a program with that uses agents: the doubles, one by one and all at once (`TestAgents.layer`),
 * assertions about traces, and the laws for layers of one's own.
 *
 * @since 0.1.0
 */
export * as ModelScripted from "../../layers/model/ModelScripted.ts"
export * as SandboxVirtual from "../../layers/sandbox/SandboxVirtual.ts"
export * as SessionMemory from "../../layers/session/SessionMemory.ts"
export * as TracerMemory from "../../layers/tracer/TracerMemory.ts"
export * as Law from "../../services/laws/Law.ts"
export * as McpServerLaws from "../../services/laws/McpServerLaws.ts"
export * as ModelProviderLaws from "../../services/laws/ModelProviderLaws.ts"
export * as SandboxLaws from "../../services/laws/SandboxLaws.ts"
export * as SessionLaws from "../../services/laws/SessionLaws.ts"
export * as TracerLaws from "../../services/laws/TracerLaws.ts"
export * as Dialogue from "./Dialogue.ts"
export * as McpScripted from "./McpScripted.ts"
export * as SessionFaults from "./SessionFaults.ts"
export * as TestAgents from "./TestAgents.ts"
export * as Traces from "./Traces.ts"
