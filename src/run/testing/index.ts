/**
 * Everything to test a program with that uses agents: the doubles, and the laws for layers of one's own.
 *
 * @since 0.1.0
 */
export * as ModelScripted from "../../layers/model/ModelScripted.ts"
export * as SandboxVirtual from "../../layers/sandbox/SandboxVirtual.ts"
export * as SessionMemory from "../../layers/session/SessionMemory.ts"
export * as TracerMemory from "../../layers/tracer/TracerMemory.ts"
export * as Law from "../../services/laws/Law.ts"
export * as ModelProviderLaws from "../../services/laws/ModelProviderLaws.ts"
export * as SandboxLaws from "../../services/laws/SandboxLaws.ts"
export * as SessionLaws from "../../services/laws/SessionLaws.ts"
export * as TracerLaws from "../../services/laws/TracerLaws.ts"
export * as Dialogue from "./Dialogue.ts"
