#!lua flags=allow-oom
-- Say that a process lives, what it can read and what it writes with; learn which key is to write. Those whose time is
-- over are struck off, by the store's own clock: replicas' clocks may differ.
-- KEYS: keyring, replicas
-- ARGV: replica id, how long it counts as living from now (ms), what it says of itself (JSON)
-- Answers the writing kid, or false if the store knows none.
-- allow-oom: a replica that can't be counted could be left behind by a rotation.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local replicas = redis.call('HGETALL', KEYS[2])
for i = 1, #replicas, 2 do
    if tonumber(string.match(replicas[i + 1], '^%d+')) <= now then
        redis.call('HDEL', KEYS[2], replicas[i])
    end
end
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', now + ARGV[2]) .. ' ' .. ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.call('HGET', KEYS[1], 'writer')
