#!lua flags=allow-oom
-- Keep a credential that came too late beside the one that was faster, for the case that it is needed.
-- KEYS: record, parked
-- ARGV: grant, sealed candidate, how long to keep it (ms), how many to keep
-- Answers the record's status, or false if the record is gone, ended, or lives from another grant by now (nothing kept).
local grant, status = unpack(redis.call('HMGET', KEYS[1], 'gr', 'st'))
if grant ~= ARGV[1] or status == 'revoked' then
    return false
end
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[2], 0, ARGV[4] - 1)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return status
