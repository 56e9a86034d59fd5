/** What package.json names in `agentLayers`: each part by its name, with its settings. */
import * as Extension from "agent-layers/services/Extension"
import * as Setting from "agent-layers/services/Setting"
import * as ModelAcme from "./ModelAcme.ts"
import * as SessionAcme from "./SessionAcme.ts"
import * as ToolsAcme from "./ToolsAcme.ts"

const released = { name: "acme", version: "1.2.0", compatibleWith: "^0.1.0" }

export const session = Extension.make({
  ...released,
  kind: "session",
  description: "Conversations as documents of Acme's store.",
  config: {
    folder: Setting.text("The folder that the documents are in.", { default: ".acme" })
  },
  layer: SessionAcme.layer
})

export const model = Extension.make({
  ...released,
  kind: "model",
  description: "Acme's models, which speak Chat Completions.",
  packages: { openai: "^7.57.0" },
  config: {
    url: Setting.text("The address of the service.", { default: "http://127.0.0.1:8080/v1" }),
    key: Setting.secret("The key of the service.", { variable: "ACME_KEY" }),
    model: Setting.text("The model that is used where an agent names none.", { default: "acme-1" })
  },
  layer: ModelAcme.layer
})

export const tool = Extension.make({
  ...released,
  kind: "tool",
  description: "Looks up and cancels orders at Acme.",
  config: {
    orders: Setting.record("What has become of each order, by its number.", { default: {} })
  },
  toolkit: ToolsAcme.toolkit,
  layer: ToolsAcme.layer
})
