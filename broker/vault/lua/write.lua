#!lua flags=allow-oom
-- Change a connection's record if it still is at the generation the writer read: the fence of every writer.
-- KEYS: record, outbox, lease, due, parked
-- ARGV: connection id, expected generation, expected health ("" = any), expected number of parked ("" = any),
--       who writes ("" = nobody in particular), what kind of new credential this puts in ("refreshed", "authorized", "" =
--       none), when it is refreshed next (ms, "-" = never by itself, "" = as it is), when it is tested next if nothing
--       says so yet (ms, "" = never), event ("" = none), number of fields to drop, those fields, then field, value, …
-- Answers 1, or 2 if the connection was given up meanwhile, or 0 if the record is gone, at another generation, or health
-- or number of parked are not the expected ones (nothing changed). A repeat by who wrote last, and has let go of the lease
-- with it, answers 1 again: its first answer was lost, or its copies on replicas. The lease is dropped if it is the
-- writer's, in any case.
-- A note under a lease that the writer has lost answers 0: how the connection fares is for who has the lease to say.
-- A new credential comes in whoever holds the lease: it is what the provider issued last. Where the connection was given
-- up meanwhile, status and health stay as they are until the writer has asked whether the grant lives. What was parked
-- beside the old credential has served its time, for the one that replaced it worked.
-- A note doesn't switch on what was switched off meanwhile.
-- allow-oom: a rotated refresh token must reach the store even when its memory is full.
local id, generation, health, parked, owner, renewed, due, check, event = unpack(ARGV, 1, 9)
local current, noted, status, committer = unpack(redis.call('HMGET', KEYS[1], 'g', 'h', 'st', 'o'))
local holds = owner ~= '' and redis.call('GET', KEYS[3]) == owner
local fits = current == generation and (health == '' or noted == health) and (renewed ~= '' or owner == '' or holds)
    and (parked == '' or tonumber(parked) == redis.call('LLEN', KEYS[5]))
local repeated = owner ~= '' and committer == owner and not holds
local answer = 0
if fits then
    answer = 1
    local drops = tonumber(ARGV[10])
    for i = 11, 10 + drops do
        redis.call('HDEL', KEYS[1], ARGV[i])
    end
    if #ARGV > 10 + drops then
        redis.call('HSET', KEYS[1], unpack(ARGV, 11 + drops))
    end
    if renewed == '' and status == 'disabled' then
        redis.call('HSET', KEYS[1], 'st', status)
    end
    if renewed ~= '' then
        redis.call('DEL', KEYS[5])
        redis.call('HDEL', KEYS[1], 'w')
    end
    if renewed == 'refreshed' and status == 'reauth_required' then
        redis.call('HSET', KEYS[1], 'h', noted, 'w', owner)
        due, answer = '', 2
    end
    if owner ~= '' then
        redis.call('HSET', KEYS[1], 'o', owner)
    end
    if due == '-' then
        redis.call('ZREM', KEYS[4], 'refresh:' .. id)
    elseif due ~= '' then
        redis.call('ZADD', KEYS[4], due, 'refresh:' .. id)
    end
    if check ~= '' and redis.call('HGET', KEYS[1], 'st') ~= 'disabled' then
        redis.call('ZADD', KEYS[4], 'NX', check, 'check:' .. id)
    end
    if event ~= '' then
        redis.call('XADD', KEYS[2], '*', 'e', event)
    end
elseif repeated then
    -- Given up, and nobody has decided since what to make of the credential that came late: the writer still has to.
    answer = redis.call('HGET', KEYS[1], 'w') == owner and 2 or 1
    -- A write, so that waiting for replicas waits for something: whatever they have confirmed then, they have this too.
    redis.call('HSET', KEYS[1], 'o', owner)
end
if holds then
    redis.call('DEL', KEYS[3])
end
return answer
