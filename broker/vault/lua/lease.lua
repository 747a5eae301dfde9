#!lua flags=allow-oom
-- Take the lease on refreshing a connection, and re-read the record under it.
-- KEYS: record, lease
-- ARGV: owner, lease time (ms), generation the caller wants to replace
-- Answers {"busy"} while another owner holds the lease, {"gone"} if there is no record, {"newer"} if the record
-- has left that generation, or {"mine", intent or false, in flight or false}: an intent says that a refresh of this
-- generation was begun before, and nobody knows how it ended; the other one, in the same form, that who sent the refresh
-- token last has not come back since. "gone" and "newer" leave no lease behind.
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then
    return {'busy'}
end
local generation, intent, flight = unpack(redis.call('HMGET', KEYS[1], 'g', 'i', 'f'))
if not generation or generation ~= ARGV[3] then
    if holder then
        redis.call('DEL', KEYS[2])
    end
    return {generation and 'newer' or 'gone'}
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'mine', intent, flight}
