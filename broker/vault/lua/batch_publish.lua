#!lua flags=allow-oom
-- Give a connection that a batch brought to its tenant. Repeating it changes nothing.
-- KEYS: record, due
-- ARGV: how the batch brought it (the field "b", whole: another run of the same file may have brought it anew),
--       connection id, when it is refreshed first (ms, "" = never by itself), when it is tested first (alike)
-- Answers 1, or 0 if it isn't there, or was brought otherwise.
-- allow-oom: half of the batch may be published already.
local brought, tenant, owed = unpack(redis.call('HMGET', KEYS[1], 'b', 't', 'bt'))
if brought ~= ARGV[1] then
    return 0
end
if tenant then
    -- A write all the same, so that waiting for replicas waits for something.
    redis.call('HSET', KEYS[1], 'b', brought)
    return 1
end
if not owed then
    return 0
end
redis.call('HSET', KEYS[1], 't', owed)
redis.call('HDEL', KEYS[1], 'bt')
redis.call('PERSIST', KEYS[1])
if ARGV[3] ~= '' then
    redis.call('ZADD', KEYS[2], ARGV[3], 'refresh:' .. ARGV[2])
end
if ARGV[4] ~= '' then
    redis.call('ZADD', KEYS[2], ARGV[4], 'check:' .. ARGV[2])
end
return 1
