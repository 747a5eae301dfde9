#!lua flags=allow-oom
-- Strike a claimed piece of work off or give it another time, unless somebody else did so since it was claimed.
-- KEYS: due   ARGV: member, until when its claim hides it (ms), new time (ms, "" = strike it off)
-- Answers 1, or 0 if it has another time by now (nothing changed).
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then
    return 0
end
if ARGV[3] == '' then
    redis.call('ZREM', KEYS[1], ARGV[1])
else
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
end
return 1
