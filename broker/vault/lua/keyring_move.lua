#!lua
-- Have another key write from now on, if every process that lives holds that very key. Registering it is part of the
-- step: a key that is registered is one that every ring must hold.
-- KEYS: keyring, replicas
-- ARGV: kid, fingerprint
-- Answers {"moved"}, also to a repeat, or, having changed nothing, {"different"} if the store knows another key under
-- that id, or {"lacking", id, what it says of itself, …} with the processes that can't read what the key would write.
local known = redis.call('HGET', KEYS[1], 'kid:' .. ARGV[1])
if known and known ~= ARGV[2] then
    return {'different'}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local replicas, answer = redis.call('HGETALL', KEYS[2]), {'lacking'}
for i = 1, #replicas, 2 do
    local ends, said = string.match(replicas[i + 1], '^(%d+) (.*)$')
    if tonumber(ends) > now and cjson.decode(said)['keys'][ARGV[1]] ~= ARGV[2] then
        answer[#answer + 1] = replicas[i]
        answer[#answer + 1] = replicas[i + 1]
    end
end
if #answer > 1 then
    return answer
end
redis.call('HSET', KEYS[1], 'kid:' .. ARGV[1], ARGV[2], 'writer', ARGV[1])
return {'moved'}
