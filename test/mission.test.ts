// oxlint-disable import/no-unassigned-import -- each of these registers its tests
/**
 * The mission: a test for each heading of the extension guide and each thing that it names, through the public API, against
 * real servers. `npm run mission` prints them as a table.
 */
import "./mission/extensions.ts"
import "./mission/memory.ts"
import "./mission/models.ts"
import "./mission/sandboxes.ts"
import "./mission/tools.ts"
import "./mission/tracing.ts"
