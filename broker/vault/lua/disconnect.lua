#!lua flags=allow-oom
-- Disconnect: the credential is unusable from here on; what is needed to take it back at the provider is queued, and so
-- is the end of the record.
-- KEYS: record, outbox, due, revocation, parked, device sessions
-- ARGV: expected generation, now (ms), how long the ended record stays (ms), event, connection id,
--       revocation job ("" = nothing to revoke), how long the job is kept (ms), how long the record outlives its end (ms),
--       how many parked credentials are in the job
-- Answers 1, or 0 if the record is gone or at another generation, or something was parked since (nothing changed).
if redis.call('HGET', KEYS[1], 'g') ~= ARGV[1] or redis.call('LLEN', KEYS[5]) ~= tonumber(ARGV[9]) then
    return 0
end
redis.call('HDEL', KEYS[1], 'a', 's', 'i', 'f')
redis.call('DEL', KEYS[5], KEYS[6])
redis.call('ZREM', KEYS[3], 'refresh:' .. ARGV[5], 'check:' .. ARGV[5], 'abandon:' .. ARGV[5])
redis.call('HSET', KEYS[1], 'st', 'revoked', 'x', '', 'up', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'g', 1)
-- When the record's time is over it is still there for a while: who takes it off the lists reads in it which ones.
redis.call('PEXPIRE', KEYS[1], ARGV[3] + ARGV[8])
redis.call('ZADD', KEYS[3], ARGV[2] + ARGV[3], 'unlist:' .. ARGV[5])
if ARGV[6] ~= '' then
    redis.call('SET', KEYS[4], ARGV[6], 'PX', ARGV[7])
    -- Due a moment later: who disconnects tries at once.
    redis.call('ZADD', KEYS[3], ARGV[2] + 30000, 'revoke:' .. ARGV[5])
end
redis.call('XADD', KEYS[2], '*', 'e', ARGV[4])
return 1
