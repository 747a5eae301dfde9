#!lua flags=allow-oom
-- Drop a lease, only by who holds it.
-- KEYS: lease   ARGV: owner   Answers 1, or 0 if it is somebody else's or nobody's.
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
