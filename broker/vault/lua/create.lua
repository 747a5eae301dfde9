#!lua flags=allow-oom
-- Create a connection's record together with its audit event.
-- allow-oom: the code is redeemed, and the person's consent would be spent for nothing.
-- KEYS: record, outbox, due
-- ARGV: connection id, when it is refreshed first (ms, "" = never by itself), when it is tested first (alike), event, then
--       field, value, …
-- Answers 1, or 0 if the record is there already: a repeat. Nothing changes then, but it is a write all the same, so that
-- waiting for replicas waits for something.
local tenant = redis.call('HGET', KEYS[1], 't')
if tenant then
    redis.call('HSET', KEYS[1], 't', tenant)
    return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
if ARGV[2] ~= '' then
    redis.call('ZADD', KEYS[3], ARGV[2], 'refresh:' .. ARGV[1])
end
if ARGV[3] ~= '' then
    redis.call('ZADD', KEYS[3], ARGV[3], 'check:' .. ARGV[1])
end
redis.call('XADD', KEYS[2], '*', 'e', ARGV[4])
return 1
