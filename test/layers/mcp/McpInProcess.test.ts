import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import { describeLaws } from "../../support/laws.ts"
import { sdkSubject } from "../../support/mcp/subjects.ts"

describeLaws("McpInProcess with a server", McpServerLaws.all, sdkSubject())
