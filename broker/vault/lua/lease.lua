#!lua flags=allow-oom
-- Take the lease on refreshing a connection, re-read the record under it, and note the intent to refresh.
-- KEYS: record, lease
-- ARGV: owner, lease time (ms), generation the caller wants to replace, intent (JSON; "" = nothing will be sent that
--       could be spent)
-- Answers {"busy"} while another owner holds the lease, {"gone"} if there is no record, {"newer"} if the record
-- has left that generation, or {"mine", earlier intent or false}: then an intent is noted, durably, before anything
-- is sent. An earlier one stays: it says since when the outcome is unknown. "gone" and "newer" leave no lease behind.
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then
    return {'busy'}
end
local generation, intent = unpack(redis.call('HMGET', KEYS[1], 'g', 'i'))
if not generation or generation ~= ARGV[3] then
    if holder then
        redis.call('DEL', KEYS[2])
    end
    return {generation and 'newer' or 'gone'}
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
if not intent and ARGV[4] ~= '' then
    redis.call('HSET', KEYS[1], 'i', ARGV[4])
end
return {'mine', intent}
