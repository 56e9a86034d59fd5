import * as SandboxBubblewrap from "agent-layers/layers/sandbox/SandboxBubblewrap"
import * as SandboxLaws from "agent-layers/services/laws/SandboxLaws"
import { describe } from "vitest"
import { describeLaws } from "../../support/laws.ts"
import { requires } from "../../support/requires.ts"
import { localSubject } from "./subject.ts"

const bubblewrap = requires("bubblewrap")
const claims = SandboxLaws.all.map((law) => law.name).filter((name) => /^(memory|cpu):/.test(name))

describe.skipIf(!bubblewrap.available)(bubblewrap.title("SandboxBubblewrap"), () => {
  const subject = localSubject("bubblewrap", SandboxBubblewrap.guarantees(), (root) => SandboxBubblewrap.make({ root }))
  describeLaws("SandboxBubblewrap", SandboxLaws.all, subject, { notShown: claims })
})
