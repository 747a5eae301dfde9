#!lua flags=allow-oom
-- Strike every key off that doesn't write: nothing is sealed with them any more.
-- KEYS: keyring, replicas
-- ARGV: kid that is believed to write
-- Answers {"retired", kid, …}, or, having changed nothing, {"moved", writing kid} if another one writes by now, or
-- {"behind", id, …} with the processes that write with another one still.
-- allow-oom: it only takes away.
local writer = redis.call('HGET', KEYS[1], 'writer')
if writer ~= ARGV[1] then
    return {'moved', writer}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local replicas, behind = redis.call('HGETALL', KEYS[2]), {'behind'}
for i = 1, #replicas, 2 do
    local ends, said = string.match(replicas[i + 1], '^(%d+) (.*)$')
    if tonumber(ends) > now and cjson.decode(said)['writes'] ~= writer then
        behind[#behind + 1] = replicas[i]
    end
end
if #behind > 1 then
    return behind
end
local retired = {'retired'}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field ~= 'writer' and field ~= 'kid:' .. writer then
        redis.call('HDEL', KEYS[1], field)
        retired[#retired + 1] = string.sub(field, 5)
    end
end
return retired
