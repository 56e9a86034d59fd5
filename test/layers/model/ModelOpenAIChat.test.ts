import { assert, describe, it } from "@effect/vitest"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import { Redacted } from "effect"
import { describeLaws } from "../../support/laws.ts"
import * as LawSubject from "../../support/openai/chatLawSubject.ts"

describeLaws(
  "ModelOpenAIChat",
  ModelProviderLaws.all,
  LawSubject.make((peer) =>
    ModelOpenAIChat.make({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5-mini" })
  ),
  { notShown: ["items of a type that nobody here knows go both ways untouched"] }
)
