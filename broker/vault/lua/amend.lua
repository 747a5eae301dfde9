#!lua
-- Change what an app says of a connection, and whether it is switched on, if nobody has changed that meanwhile.
-- KEYS: record, outbox, due
-- ARGV: connection id, expected notes, expected status, notes, status, updated (ms), event, then kind and time (ms, "-" =
--       never), … of what becomes due
-- Answers 1, or 0 if the record says something else than expected (nothing changed). A repeat answers 1 where the first
-- answer was lost: what it wanted stands there.
local notes, status = unpack(redis.call('HMGET', KEYS[1], 'l', 'st'))
if notes == ARGV[4] and status == ARGV[5] and (notes ~= ARGV[2] or status ~= ARGV[3]) then
    return 1
end
if notes ~= ARGV[2] or status ~= ARGV[3] then
    return 0
end
redis.call('HSET', KEYS[1], 'l', ARGV[4], 'st', ARGV[5], 'up', ARGV[6])
for i = 8, #ARGV, 2 do
    local member = ARGV[i] .. ':' .. ARGV[1]
    if ARGV[i + 1] == '-' then
        redis.call('ZREM', KEYS[3], member)
    else
        redis.call('ZADD', KEYS[3], ARGV[i + 1], member)
    end
end
redis.call('XADD', KEYS[2], '*', 'e', ARGV[7])
return 1
