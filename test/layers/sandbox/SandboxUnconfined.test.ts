import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import * as SandboxLaws from "agent-layers/services/laws/SandboxLaws"
import { describeLaws } from "../../support/laws.ts"
import { localSubject } from "./subject.ts"

const claims = SandboxLaws.all.map((law) => law.name).filter((name) =>
  /^(fileSystem|network|environment|processes|memory|cpu):/.test(name)
)
const subject = localSubject("unconfined", SandboxUnconfined.guarantees, (root) => SandboxUnconfined.make({ root }))

describeLaws("SandboxUnconfined", SandboxLaws.all, subject, { notShown: claims })
