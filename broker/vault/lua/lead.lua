#!lua flags=allow-oom
-- Take the lead in a chore, or prolong it.
-- KEYS: lead   ARGV: replica, term (ms)   Answers 1, or 0 if another replica has it.
-- allow-oom: when memory is full, refreshing goes on and what is waiting is moved or erased; somebody has to do it.
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
