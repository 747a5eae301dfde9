#!lua flags=allow-oom
-- Remove a connection that a batch brought, with all that is only its own, or tell what speaks against it.
-- KEYS: record, parked, lease, device sessions, due
-- ARGV: how the batch brought it (the field "b", whole), connection id, generation that it came with, how many parked
--       credentials came with it, how: "look" (change nothing), "staged" (only where it is nobody's yet), "unchanged"
--       (only where its credential is the one that it came with), "force"
-- Answers, in this order:
--   "gone"       it isn't there, or was brought otherwise
--   "published"  it is somebody's, and only what is nobody's was to go
--   "ended"      it was disconnected
--   "busy"       somebody refreshes it, or may be: without its record that one would end the grant at the provider
--   "changed"    it has another credential than it came with, or nobody knows whether it has: a refresh was begun whose
--                outcome is unknown, or what came too late lies beside it
--   "removed" or "forced": it is gone now ("look": it could go); "forced" if it had changed
local brought, tenant, status, generation, intent = unpack(redis.call('HMGET', KEYS[1], 'b', 't', 'st', 'g', 'i'))
local how = ARGV[5]
if brought ~= ARGV[1] then
    return 'gone'
end
if tenant and how == 'staged' then
    return 'published'
end
if tenant and status == 'revoked' then
    return 'ended'
end
if redis.call('EXISTS', KEYS[3]) == 1 then
    return 'busy'
end
local changed = generation ~= ARGV[3] or intent or redis.call('LLEN', KEYS[2]) > tonumber(ARGV[4])
if changed and how ~= 'force' then
    return 'changed'
end
if how ~= 'look' then
    redis.call('DEL', KEYS[1], KEYS[2], KEYS[4])
    redis.call('ZREM', KEYS[5], 'refresh:' .. ARGV[2], 'check:' .. ARGV[2], 'abandon:' .. ARGV[2])
end
return changed and 'forced' or 'removed'
