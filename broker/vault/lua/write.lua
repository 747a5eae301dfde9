#!lua flags=allow-oom
-- Change a connection's record if it still is at the generation the writer read: the fence of every writer.
-- KEYS: record, outbox, lease
-- ARGV: expected generation, expected health ("" = any), lease owner ("" = none), whether this proves the grant alive
--       ("1" or ""), event ("" = none), number of fields to drop, those fields, then field, value, …
-- Answers 1, or 0 if the record is gone, at another generation, or its health is not the expected one (nothing
-- changed). A repeat of a write that has moved the generation under this lease owner answers 1 again: its first answer
-- was lost. The lease is dropped if it is the writer's, in any case.
-- Proof that the grant lives takes "reauth_required" back: somebody else, who held the lease meanwhile, saw a refresh
-- token refused only because this writer had used it. "disabled" and "revoked" are people's decisions and stay.
-- allow-oom: a rotated refresh token must reach the store even when its memory is full.
local generation, health, owner, alive, event = unpack(ARGV, 1, 5)
local current, noted, status, committer = unpack(redis.call('HMGET', KEYS[1], 'g', 'h', 'st', 'o'))
local fits = current == generation and (health == '' or noted == health)
local repeated = current and current ~= generation and owner ~= '' and committer == owner
if fits then
    local drops = tonumber(ARGV[6])
    for i = 7, 6 + drops do
        redis.call('HDEL', KEYS[1], ARGV[i])
    end
    if #ARGV > 6 + drops then
        redis.call('HSET', KEYS[1], unpack(ARGV, 7 + drops))
    end
    if alive == '1' and status == 'reauth_required' then
        redis.call('HSET', KEYS[1], 'st', 'active')
    end
    if owner ~= '' then
        redis.call('HSET', KEYS[1], 'o', owner)
    end
    if event ~= '' then
        redis.call('XADD', KEYS[2], '*', 'e', event)
    end
end
if owner ~= '' and redis.call('GET', KEYS[3]) == owner then
    redis.call('DEL', KEYS[3])
end
return (fits or repeated) and 1 or 0
