#!lua
-- Store a connection that a batch brings, as nobody's: it has no tenant until the whole batch is there.
-- KEYS: record
-- ARGV: batch id, how long it stays by itself (ms, "" = for ever), then field, value, … (none: only what is there stays
--       longer)
-- Answers 1 if it is there now, nobody's and of this batch; 2 if the batch has published it already; 0 if it isn't there
-- or somebody's (nothing changed).
-- What is there stays as it is: it was tested then.
-- Not allow-oom: who imports can wait.
local brought, tenant = unpack(redis.call('HMGET', KEYS[1], 'b', 't'))
if brought then
    if string.sub(brought, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then
        return 0
    end
    if tenant then
        return 2
    end
elseif #ARGV == 2 or redis.call('EXISTS', KEYS[1]) == 1 then
    return 0
else
    redis.call('HSET', KEYS[1], unpack(ARGV, 3))
end
if ARGV[2] == '' then
    redis.call('PERSIST', KEYS[1])
else
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
