/**
 * The contracts, the agent loop and the doubles to test with. Every other Layer has a subpath of its own
 * (`agent-layers/layers/session/SessionSqlite`), so that importing one never loads another's client.
 *
 * @since 0.1.0
 */
export * as ModelScripted from "./layers/model/ModelScripted.ts"
export * as SessionMemory from "./layers/session/SessionMemory.ts"
export * as TracerMemory from "./layers/tracer/TracerMemory.ts"
export * as Agent from "./run/Agent.ts"
export * as RunConfig from "./run/RunConfig.ts"
export * as RunError from "./run/RunError.ts"
export * as RunEvent from "./run/RunEvent.ts"
export * as Runner from "./run/Runner.ts"
export * as RunResult from "./run/RunResult.ts"
export * as RunState from "./run/RunState.ts"
export * as Extension from "./services/Extension.ts"
export * as History from "./services/History.ts"
export * as Ids from "./services/Ids.ts"
export * as Item from "./services/Item.ts"
export * as McpServer from "./services/McpServer.ts"
export * as ModelError from "./services/ModelError.ts"
export * as ModelProvider from "./services/ModelProvider.ts"
export * as RunJournal from "./services/RunJournal.ts"
export * as Sandbox from "./services/Sandbox.ts"
export * as SandboxError from "./services/SandboxError.ts"
export * as Session from "./services/Session.ts"
export * as SessionError from "./services/SessionError.ts"
export * as ToolContext from "./services/ToolContext.ts"
export * as Tracer from "./services/Tracer.ts"
export * as Usage from "./services/Usage.ts"
