/** The laws' server as a process of its own. */
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js"
import { lawServer } from "./lawServer.ts"

await lawServer().connect(new StdioServerTransport())
