import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import { describeLaws } from "../../support/laws.ts"
import { sseSubject } from "../../support/mcp/subjects.ts"

describeLaws("McpSse", McpServerLaws.all, sseSubject())
