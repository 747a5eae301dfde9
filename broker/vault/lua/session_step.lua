#!lua flags=allow-oom
-- Take a connect session one step further, if it is where the caller believes it to be.
-- KEYS: session
-- ARGV: now (ms), expected statuses (",a,b,"), how long to keep the session from now (ms, "" = as it is),
--       name of this attempt ("" = none), number of expectations, then field, expected value, …, then field, new value, …
-- An empty expected value stands for a field that is absent or empty.
-- Answers 1, also to a repeat of the last step by its attempt's name: its first answer was lost; or 0 if the session is gone, late, elsewhere, or an expectation does not hold (nothing changed).
local status, ends, attempt = unpack(redis.call('HMGET', KEYS[1], 'status', 'expires_at', 'attempt'))
if ARGV[4] ~= '' and attempt == ARGV[4] then
    return 1
end
if not status or not string.find(ARGV[2], ',' .. status .. ',', 1, true) or tonumber(ends) <= tonumber(ARGV[1]) then
    return 0
end
local last = 5 + 2 * tonumber(ARGV[5])
for i = 6, last, 2 do
    if (redis.call('HGET', KEYS[1], ARGV[i]) or '') ~= ARGV[i + 1] then
        return 0
    end
end
redis.call('HSET', KEYS[1], 'attempt', ARGV[4], unpack(ARGV, last + 1))
if ARGV[3] ~= '' then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
