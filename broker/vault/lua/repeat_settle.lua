#!lua flags=allow-oom
-- Say what became of a claim.
-- KEYS: repeat
-- ARGV: name of the attempt, how it ended ("answered", "undone", "unknown"), sealed answer, how long it is kept (ms)
-- Answers 1, or 0 if another attempt has taken it over.
if redis.call('HGET', KEYS[1], 'by') ~= ARGV[1] then
    return 0
end
if ARGV[2] == 'answered' then
    redis.call('HSET', KEYS[1], 'a', ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
elseif ARGV[2] == 'undone' then
    redis.call('DEL', KEYS[1])
else
    redis.call('HSET', KEYS[1], 'until', 0)
end
return 1
