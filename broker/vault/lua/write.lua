#!lua flags=allow-oom
-- Change a connection's record if it still is at the generation the writer read: the fence of every writer.
-- KEYS: record, outbox, lease
-- ARGV: expected generation, lease owner ("" = none), event ("" = none), number of fields to drop, those fields,
--       then field, value, …
-- Answers 1, or 0 if the record is gone or at another generation (nothing changed). A repeat of a write that has
-- moved the generation under this lease owner answers 1 again: its first answer was lost. The lease is dropped if
-- it is the writer's, in any case.
-- allow-oom: a rotated refresh token must reach the store even when its memory is full.
local current, committer = unpack(redis.call('HMGET', KEYS[1], 'g', 'o'))
local fits = current == ARGV[1]
local repeated = current and not fits and ARGV[2] ~= '' and committer == ARGV[2]
if fits then
    local drops = tonumber(ARGV[4])
    for i = 5, 4 + drops do
        redis.call('HDEL', KEYS[1], ARGV[i])
    end
    if #ARGV > 4 + drops then
        redis.call('HSET', KEYS[1], unpack(ARGV, 5 + drops))
    end
    if ARGV[2] ~= '' then
        redis.call('HSET', KEYS[1], 'o', ARGV[2])
    end
    if ARGV[3] ~= '' then
        redis.call('XADD', KEYS[2], '*', 'e', ARGV[3])
    end
end
if ARGV[2] ~= '' and redis.call('GET', KEYS[3]) == ARGV[2] then
    redis.call('DEL', KEYS[3])
end
return (fits or repeated) and 1 or 0
