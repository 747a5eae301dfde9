#!lua flags=allow-oom
-- Take a batch one step further, if it is where the caller believes it to be, and the caller's.
-- KEYS: batch
-- ARGV: expected states (",a,b,"; an empty one: there is none yet), who works on it, how long it is kept without another
--       step (ms, "" = for ever), then field, value, … among them its state and who works on it
-- Answers 1, or 0 if it is elsewhere, or somebody else has claimed it (nothing changed).
-- allow-oom: what is to be undone must be undone when memory is full.
local state, holder = unpack(redis.call('HMGET', KEYS[1], 'state', 'by'))
if not string.find(ARGV[1], ',' .. (state or '') .. ',', 1, true) then
    return 0
end
if state and (holder or '') ~= ARGV[2] then
    return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
if ARGV[3] == '' then
    redis.call('PERSIST', KEYS[1])
else
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
