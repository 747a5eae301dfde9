#!lua flags=allow-oom
-- Compare a ring with the keys this store has been written with. The first ring's writing key is registered; other keys
-- have sealed nothing, so replicas that lack them must not be turned away because of them.
-- KEYS: keyring
-- ARGV: the ring's writer, then kid, fingerprint, …
-- Answers {"ok", the writing kid} or, having changed nothing, {"missing", kid} / {"different", kid}.
local ring = {}
for i = 2, #ARGV, 2 do
    ring[ARGV[i]] = ARGV[i + 1]
end
local known = redis.call('HGETALL', KEYS[1])
local writer
for i = 1, #known, 2 do
    if known[i] == 'writer' then
        writer = known[i + 1]
    else
        local kid = string.sub(known[i], 5)
        if not ring[kid] then
            return {'missing', kid}
        end
        if ring[kid] ~= known[i + 1] then
            return {'different', kid}
        end
    end
end
if not writer then
    writer = ARGV[1]
    redis.call('HSET', KEYS[1], 'writer', writer, 'kid:' .. writer, ring[writer])
end
return {'ok', writer}
