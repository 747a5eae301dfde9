#!lua flags=allow-oom
-- Take a connect session one step further, if it is where the caller believes it to be.
-- KEYS: session
-- ARGV: now (ms), expected statuses (",a,b,"), how long to keep the session from now (ms, "" = as it is),
--       number of expectations, then field, expected value, …, then field, new value, …
-- An empty expected value stands for a field that is absent or empty.
-- Answers 1; or 0 if the session is gone, late, elsewhere, or an expectation does not hold (nothing changed).
local status, ends = unpack(redis.call('HMGET', KEYS[1], 'status', 'expires_at'))
if not status or not string.find(ARGV[2], ',' .. status .. ',', 1, true) or tonumber(ends) <= tonumber(ARGV[1]) then
    return 0
end
local last = 4 + 2 * tonumber(ARGV[4])
for i = 5, last, 2 do
    if (redis.call('HGET', KEYS[1], ARGV[i]) or '') ~= ARGV[i + 1] then
        return 0
    end
end
redis.call('HSET', KEYS[1], unpack(ARGV, last + 1))
if ARGV[3] ~= '' then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
