"""The scripts that change a model's head: each runs in Redis as one atomic step.

A learner's scripts first ask whether it still owns the model. They answer {"OK", …}, {"FENCED", epoch} when a
newer learner does, {"LOST", seq, epoch} when the server (restarted from an older save) forgot this learner,
{"BEHIND", seq} when it lost commits, {"AHEAD", seq} when the commit is not the next one.
"""

from streamrec.store.wire import Script

__all__ = [
    "ACQUIRE",
    "APPEND",
    "BEGIN_FLUSH",
    "CHANGE",
    "CHECK",
    "FENCE",
    "FINISH_FLUSH",
    "NEW_SPACE",
    "PIN",
    "PUBLISH",
    "SWEEP",
    "UNPIN",
]

# KEYS[1] head; ARGV[1] epoch, ARGV[2] owner
_OWNED = """
local head = redis.call('HMGET', KEYS[1], 'seq', 'epoch', 'owner', 'crc', 'flushed', 'target', 'pin')
local seq, epoch = tonumber(head[1] or 0), tonumber(head[2] or 0)
local mine = tonumber(ARGV[1])
if epoch > mine or (epoch == mine and head[3] ~= ARGV[2]) then return {'FENCED', epoch} end
if epoch < mine then return {'LOST', seq, epoch} end
local flushed, target, pin = tonumber(head[5] or 0), tonumber(head[6] or 0), tonumber(head[7] or 0)
"""

# live readers: the smallest seq and pin number among those whose deadline has not passed
_READERS = """
local now = redis.call('TIME')
now = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local readers = redis.call('HGETALL', KEYS[2])
local least, oldest = math.huge, math.huge
for i = 1, #readers, 2 do
  local at, deadline = string.match(readers[i + 1], '(%d+) (%d+)')
  if tonumber(deadline) < now then redis.call('HDEL', KEYS[2], readers[i])
  else least = math.min(least, tonumber(at)); oldest = math.min(oldest, tonumber(readers[i])) end
end
"""

#: KEYS head log blobs spaces trash tick; ARGV owner fresh epoch → {epoch, seq, flushed}. `epoch` 0: the next;
#: else keep or take again that one.
ACQUIRE = Script("""
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0)
local wanted = tonumber(ARGV[3])
if wanted == 0 then wanted = epoch + 1
elseif wanted < epoch or (wanted == epoch and redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1]) then
  return {'FENCED', epoch}
end
local born = redis.call('HGET', KEYS[1], 'birth')
redis.call('HSET', KEYS[1], 'epoch', wanted, 'owner', ARGV[1])
if ARGV[2] == '1' or not born then
  local pin = redis.call('HGET', KEYS[1], 'pin') or 0
  local spaces = redis.call('HGETALL', KEYS[4])
  for i = 2, #spaces, 2 do
    local bits, token = string.match(spaces[i], '%d+ (%d+) (%d+)')
    redis.call('HSET', KEYS[5], token, bits .. ' ' .. pin)
  end
  redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[6])
  redis.call('HSET', KEYS[1], 'birth', wanted, 'seq', 0, 'time_ms', 0, 'crc', '', 'flushed', 0, 'target', 0)
end
local seq = redis.call('HGET', KEYS[1], 'seq')
local after = string.format('%.0f', tonumber(seq) + 1) .. '-0'
while true do
  local orphan = redis.call('XRANGE', KEYS[2], after, '+', 'COUNT', 1)
  if not orphan[1] then break end
  redis.call('XDEL', KEYS[2], orphan[1][1])
end
return {'OK', wanted, tonumber(seq)}
""")

#: KEYS fence; ARGV "epoch.owner". A fence only ever moves to the same or a newer epoch.
FENCE = Script("""
local epoch = tonumber(string.match(ARGV[1], '%d+'))
local set = redis.call('GET', KEYS[1])
if set and tonumber(string.match(set, '%d+')) > epoch then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
""")

#: KEYS head log tick; ARGV epoch owner seq id part parts first data time_ms crc. The last part moves the
#: head.
APPEND = Script(
    _OWNED
    + """
local new = tonumber(ARGV[3])
if seq == new and head[4] == ARGV[10] then return {'OK'} end
if seq >= new then return {'AHEAD', seq} end
if seq < new - 1 then return {'BEHIND', seq} end
-- it is there already where its answer was lost and it was sent again
if not redis.call('XRANGE', KEYS[2], ARGV[4], ARGV[4])[1] then
  redis.call('XADD', KEYS[2], ARGV[4], 'i', ARGV[5], 'n', ARGV[6], 'a', ARGV[7], 'd', ARGV[8])
end
if tonumber(ARGV[5]) == tonumber(ARGV[6]) - 1 then
  redis.call('XADD', KEYS[3], 'MAXLEN', 1, ARGV[4], 's', '')
  redis.call('HSET', KEYS[1], 'seq', ARGV[3], 'time_ms', ARGV[9], 'crc', ARGV[10])
end
return {'OK'}
"""
)

#: KEYS head pins; ARGV epoch owner upto force → {flushed, target, pinned, birth, seq}: rows may now be
#: written for commits up to target, which is lower than asked for where a reader has pinned an older
#: generation.
BEGIN_FLUSH = Script(
    _OWNED
    + _READERS
    + """
local upto, pinned = math.min(tonumber(ARGV[3]), seq), 0
if ARGV[4] ~= '1' and least < upto then upto = least; pinned = 1 end
if upto > target then redis.call('HSET', KEYS[1], 'target', string.format('%.0f', upto)) end
return {'OK', flushed, upto, pinned, tonumber(redis.call('HGET', KEYS[1], 'birth') or 0), seq}
"""
)

#: KEYS head log blobs spaces; ARGV epoch owner flushed keep n_spaces (field value)… (name blob)…
FINISH_FLUSH = Script(
    _OWNED
    + """
local first_blob = 6 + 2 * tonumber(ARGV[5])
for i = first_blob, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
for i = 6, first_blob - 1, 2 do redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[1], 'flushed', ARGV[3])
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[4] .. '-0')
return {'OK'}
"""
)

#: KEYS head trash; ARGV epoch owner bits token → {token}, the next one where it is 0. It is trash until it is
#: published.
NEW_SPACE = Script(
    _OWNED
    + """
local token = ARGV[4]
if token == '0' then token = redis.call('HINCRBY', KEYS[1], 'tokens', 1) end
redis.call('HSET', KEYS[2], token, ARGV[3] .. ' 0')
return {'OK', tonumber(token)}
"""
)

#: KEYS head spaces trash; ARGV epoch owner field value token old_token old_bits. Readers of the old buckets
#: may still be there.
PUBLISH = Script(
    _OWNED
    + """
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('HDEL', KEYS[3], ARGV[5])
if ARGV[6] ~= '' then redis.call('HSET', KEYS[3], ARGV[6], ARGV[7] .. ' ' .. string.format('%.0f', pin)) end
return {'OK'}
"""
)

#: KEYS head pins trash; ARGV epoch owner → {token bits …} of buckets that nobody reads any more.
SWEEP = Script(
    _OWNED
    + _READERS
    + """
local found = {'OK'}
local trash = redis.call('HGETALL', KEYS[3])
for i = 1, #trash, 2 do
  local bits, last = string.match(trash[i + 1], '(%d+) (%d+)')
  if oldest > tonumber(last) then found[#found + 1] = tonumber(trash[i]); found[#found + 1] = tonumber(bits)
  end
end
return found
"""
)

#: KEYS head pins blobs spaces; ARGV keep_ms → {reader, seq, epoch, time_ms, flushed, birth, {blobs},
#: {spaces}}.
#: A full server refuses the pin: the reader goes on without, and `CHECK` tells whether that went well.
PIN = Script("""
local head = redis.call('HMGET', KEYS[1], 'seq', 'epoch', 'time_ms', 'flushed', 'birth')
local blobs, spaces = redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[4])
local reader = 0
if head[1] and head[1] ~= '0' then
  local now = redis.call('TIME')
  local deadline = string.format('%.0f', tonumber(now[1]) * 1000 + tonumber(ARGV[1]))
  local pin = redis.pcall('HINCRBY', KEYS[1], 'pin', 1)
  if type(pin) == 'number' then
    reader = pin
    redis.pcall('HSET', KEYS[2], reader, head[1] .. ' ' .. deadline)
  end
end
return {reader, head[1] or '0', head[2] or '0', head[3] or '0', head[4] or '0', head[5] or '0', blobs, spaces}
""")

#: KEYS head pins spaces; ARGV reader seq keep_ms → {target, birth, pinned, {spaces}}; a pin that no flush has
#: ignored yet holds for another while.
CHECK = Script("""
local head = redis.call('HMGET', KEYS[1], 'target', 'birth')
local spaces = redis.call('HGETALL', KEYS[3])
local pinned = redis.call('HEXISTS', KEYS[2], ARGV[1])
if pinned == 1 then
  local now = redis.call('TIME')
  local deadline = string.format('%.0f', tonumber(now[1]) * 1000 + tonumber(ARGV[3]))
  redis.pcall('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. deadline)
end
return {head[1] or '0', head[2] or '0', pinned, spaces}
""")

#: KEYS setting; ARGV seen value → {"OK", version} or {"OUTDATED", version}; said again, it is the same
#: change.
CHANGE = Script("""
local now = redis.call('HMGET', KEYS[1], 'version', 'value')
local version, seen = tonumber(now[1] or 0) or -1, tonumber(ARGV[1])
if version == seen + 1 and now[2] == ARGV[2] then return {'OK', version} end
if version ~= seen then return {'OUTDATED', version} end
redis.call('HSET', KEYS[1], 'version', string.format('%.0f', seen + 1), 'value', ARGV[2])
return {'OK', seen + 1}
""")

#: KEYS pins; ARGV reader.
UNPIN = Script("return redis.call('HDEL', KEYS[1], ARGV[1])")
