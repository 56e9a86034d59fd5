/**
 * The scripts, one for each operation: Redis runs a script alone, so that it happens whole or not at all. A script that
 * fails is not undone, so that each touches all its keys by reading before it writes: a key of another type then fails
 * it while nothing has changed. Nothing that fails later is left: Redis asks for memory before a script's first write.
 *
 * Keys of a conversation, in this order: the conversation, its items, its commits, its operations, their order; then the
 * index of conversations with content.
 *
 * - conversation: a hash of version, epoch (the version that the last rewrite, pop or clear left), base (the number
 *   before that of the first item), items (how many) and changed.
 * - items: a list of entries.
 * - commits: a sorted set of "version savedAt meta" by the number of the commit's last item.
 * - operations: a hash of "version savedAt fingerprint" by operation id; their order: a sorted set by version.
 * - index: a sorted set of ids, all with score 0, which makes it sorted by bytes.
 */
import { maxOperations } from "./retention.ts"

/** What Lua can put on its stack at once, with room to spare. */
const chunk = 1_000

const read = `
local found = redis.call('HMGET', KEYS[1], 'version', 'epoch', 'base', 'items')
local version = tonumber(found[1] or 0)
local epoch = tonumber(found[2] or 0)
local base = tonumber(found[3] or 0)
local items = tonumber(found[4] or 0)
if redis.call('LLEN', KEYS[2]) ~= items then return {'corrupt'} end
`

const touch = `
redis.call('ZCARD', KEYS[3])
redis.call('HLEN', KEYS[4])
redis.call('ZCARD', KEYS[5])
redis.call('ZCARD', KEYS[6])
`

/** Walks back from the end only as far as commits are newer. */
const lastThrough = `
local function lastThrough(version)
  local at = 0
  while true do
    local page = redis.call('ZREVRANGE', KEYS[3], at, at + 31, 'WITHSCORES')
    for i = 1, #page, 2 do
      if tonumber(string.match(page[i], '^%d+')) <= version then return tonumber(page[i + 1]) end
    end
    if #page < 64 then return base end
    at = at + 32
  end
end
`

const forget = `
local function remove(ids)
  for i = 1, #ids, ${chunk} do
    local last = math.min(i + ${chunk - 1}, #ids)
    redis.call('HDEL', KEYS[4], unpack(ids, i, last))
    redis.call('ZREM', KEYS[5], unpack(ids, i, last))
  end
end
local function forget(expiredBefore)
  remove(redis.call('ZRANGE', KEYS[5], 0, -${maxOperations + 1}))
  while true do
    local expired = {}
    for _, id in ipairs(redis.call('ZRANGE', KEYS[5], 0, 63)) do
      local operation = redis.call('HGET', KEYS[4], id)
      if operation and tonumber(string.match(operation, '^%d+ (%S+)')) >= expiredBefore then break end
      expired[#expired + 1] = id
    end
    if #expired == 0 then return end
    remove(expired)
  end
end
`

/** @internal */
export const scripts = {
  /** Limit or '', known or ''. */
  load: `${read}${lastThrough}
if not found[1] then return {'none'} end
local limit = tonumber(ARGV[1]) or items
local known = tonumber(ARGV[2])
local count = items
local suffix = 0
if known and known >= epoch and known <= version then
  suffix = 1
  if known == version then count = 0 else count = base + items - lastThrough(known) end
end
if count > limit then
  count = limit
  suffix = 0
end
local entries = {}
if count > 0 then entries = redis.call('LRANGE', KEYS[2], -count, -1) end
return {'ok', version, suffix, entries}`,

  /** Id, savedAt, meta or '', expected or '', operation id or '', fingerprint, expiredBefore, entries. */
  save: `${read}${touch}${forget}
if ARGV[5] ~= '' then
  local operation = redis.call('HGET', KEYS[4], ARGV[5])
  if operation then
    local left, fingerprint = string.match(operation, '^(%d+) %S+ (.*)$')
    if fingerprint == ARGV[6] then return {'ok', tonumber(left)} end
    return {'mismatch'}
  end
end
if ARGV[4] ~= '' and tonumber(ARGV[4]) ~= version then return {'conflict', version} end
version = version + 1
items = items + #ARGV - 7
for i = 8, #ARGV, ${chunk} do
  redis.call('RPUSH', KEYS[2], unpack(ARGV, i, math.min(i + ${chunk - 1}, #ARGV)))
end
redis.call('ZADD', KEYS[3], base + items, version .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
redis.call('HSET', KEYS[1], 'version', version, 'items', items, 'changed', ARGV[2])
redis.call('ZADD', KEYS[6], 0, ARGV[1])
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[4], ARGV[5], version .. ' ' .. ARGV[2] .. ' ' .. ARGV[6])
  redis.call('ZADD', KEYS[5], version, ARGV[5])
  if version % 64 == 0 then forget(tonumber(ARGV[7])) end
end
return {'ok', version}`,

  /** Id, through, savedAt, entries. */
  rewrite: `${read}${touch}${lastThrough}
local through = tonumber(ARGV[2])
if through > version or through < epoch then return {'conflict', version} end
local boundary = lastThrough(through)
local removed = boundary - base
local added = #ARGV - 3
version = version + 1
items = items - removed + added
base = boundary - added
if removed > 0 then
  redis.call('LTRIM', KEYS[2], removed, -1)
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', boundary)
end
for i = #ARGV, 4, -${chunk} do
  local entries = {}
  for j = i, math.max(i - ${chunk - 1}, 4), -1 do entries[#entries + 1] = ARGV[j] end
  redis.call('LPUSH', KEYS[2], unpack(entries))
end
if added > 0 then redis.call('ZADD', KEYS[3], boundary, version .. ' ' .. ARGV[3] .. ' ') end
redis.call(
  'HSET', KEYS[1], 'version', version, 'epoch', version, 'base', base, 'items', items, 'changed', ARGV[3]
)
if items > 0 then redis.call('ZADD', KEYS[6], 0, ARGV[1]) else redis.call('ZREM', KEYS[6], ARGV[1]) end
return {'ok', version}`,

  last: `${read}
if items == 0 then return {'none'} end
return {'ok', version, redis.call('LINDEX', KEYS[2], -1)}`,

  /** Id, version now, savedAt. */
  pop: `${read}${touch}
if items == 0 or version ~= tonumber(ARGV[2]) then return {'moved'} end
local commits = redis.call('ZREVRANGE', KEYS[3], 0, 1, 'WITHSCORES')
version = version + 1
items = items - 1
redis.call('RPOP', KEYS[2])
if base + items <= tonumber(commits[4] or base) then
  redis.call('ZREM', KEYS[3], commits[1])
else
  redis.call('ZADD', KEYS[3], base + items, commits[1])
end
redis.call('HSET', KEYS[1], 'version', version, 'epoch', version, 'items', items, 'changed', ARGV[3])
if items == 0 then redis.call('ZREM', KEYS[6], ARGV[1]) end
return {'ok'}`,

  /** Id, savedAt. */
  clear: `${read}${touch}
if items == 0 then return {'ok'} end
version = version + 1
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'version', version, 'epoch', version, 'base', 0, 'items', 0, 'changed', ARGV[2])
redis.call('ZREM', KEYS[6], ARGV[1])
return {'ok'}`,

  /** After, limit. The numbers of items count from 1 in the answer. */
  page: `${read}
local after = tonumber(ARGV[1])
local limit = tonumber(ARGV[2])
if after >= items then return {'ok', epoch, {}, {}} end
local entries = redis.call('LRANGE', KEYS[2], after, after + limit - 1)
local commits = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. (base + after), '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
for i = 2, #commits, 2 do commits[i] = tonumber(commits[i]) - base end
return {'ok', epoch, entries, commits}`,

  /** Its only key is the index. Prefix of ids, after or '', limit, prefix of conversation keys. */
  list: `
local from = '-'
if ARGV[2] ~= '' then from = '(' .. ARGV[2] elseif ARGV[1] ~= '' then from = '[' .. ARGV[1] end
local to = '+'
if ARGV[1] ~= '' then to = '(' .. ARGV[1] .. '\\255' end
local answer = {'ok'}
for _, id in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], from, to, 'LIMIT', 0, tonumber(ARGV[3]))) do
  local found = redis.call('HMGET', ARGV[4] .. id, 'version', 'changed')
  answer[#answer + 1] = {id, tonumber(found[1] or 0), found[2] or '0'}
end
return answer`,

  /** ExpiredBefore. */
  forget: `${forget}
redis.call('HLEN', KEYS[4])
forget(tonumber(ARGV[1]))
return {'ok'}`,

  /** Its only key is the format of the store. The format of this program. */
  open: `
local found = redis.call('GET', KEYS[1])
if found then return {'ok', tonumber(found) or -1} end
redis.call('SET', KEYS[1], ARGV[1])
return {'ok', tonumber(ARGV[1])}`
} as const

/** @internal */
export type ScriptName = keyof typeof scripts
