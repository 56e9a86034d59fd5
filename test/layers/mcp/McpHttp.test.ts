import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import { describeLaws } from "../../support/laws.ts"
import { httpSubject } from "../../support/mcp/subjects.ts"

describeLaws("McpHttp", McpServerLaws.all, httpSubject())
describeLaws("McpHttp that answers with JSON", McpServerLaws.all, httpSubject({ isJson: true }))
