#!lua flags=no-writes
-- What the store knows of its keys, and which processes live, at one moment.
-- KEYS: keyring, replicas
-- Answers {{"writer", kid, "kid:" .. kid, fingerprint, …}, {id, what it says of itself, …}}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local replicas, living = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #replicas, 2 do
    if tonumber(string.match(replicas[i + 1], '^%d+')) > now then
        living[#living + 1] = replicas[i]
        living[#living + 1] = replicas[i + 1]
    end
end
return {redis.call('HGETALL', KEYS[1]), living}
