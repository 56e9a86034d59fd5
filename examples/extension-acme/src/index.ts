export * as ModelAcme from "./ModelAcme.ts"
export * as SessionAcme from "./SessionAcme.ts"
export * as ToolsAcme from "./ToolsAcme.ts"
