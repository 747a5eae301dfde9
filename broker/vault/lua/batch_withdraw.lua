#!lua flags=allow-oom
-- Remove a connection that a batch brought, with all that is only its own, unless its credential has changed since.
-- KEYS: record, parked, lease, device sessions, due
-- ARGV: batch id, expected generation, connection id
-- Answers 1, or 0 if it isn't there, of no such batch, or at another generation (nothing changed).
local brought, generation = unpack(redis.call('HMGET', KEYS[1], 'b', 'g'))
if not brought or string.sub(brought, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' or generation ~= ARGV[2] then
    return 0
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('ZREM', KEYS[5], 'refresh:' .. ARGV[3], 'check:' .. ARGV[3], 'abandon:' .. ARGV[3])
return 1
