#!lua flags=allow-oom
-- Take a batch one step further, if it is where the caller believes it to be.
-- KEYS: batch
-- ARGV: expected states (",a,b,"; an empty one: there is none yet), how long it is kept without another step (ms, "" =
--       for ever), then field, value, … among them its state
-- Answers 1, or 0 if it is elsewhere (nothing changed).
-- allow-oom: what is to be undone must be undone when memory is full.
local state = redis.call('HGET', KEYS[1], 'state') or ''
if not string.find(ARGV[1], ',' .. state .. ',', 1, true) then
    return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
if ARGV[2] == '' then
    redis.call('PERSIST', KEYS[1])
else
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
