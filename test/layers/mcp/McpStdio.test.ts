import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import { describeLaws } from "../../support/laws.ts"
import { stdioSubject } from "../../support/mcp/subjects.ts"

describeLaws("McpStdio", McpServerLaws.all, stdioSubject("mcp-stdio-laws"))
