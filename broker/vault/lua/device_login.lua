#!lua
-- A machine is logged in with a connection: its device session, its audit event, and when it ends by itself.
-- KEYS: record, device sessions, outbox, due
-- ARGV: tenant, device session id, device session (JSON), when it ends (ms), event, connection id
-- Answers "ok", or what stands in the way: "absent" or the record's status. A repeat changes nothing.
local tenant, status = unpack(redis.call('HMGET', KEYS[1], 't', 'st'))
if not tenant or tenant ~= ARGV[1] then
    return 'absent'
end
if status ~= 'active' then
    return status
end
if redis.call('HSETNX', KEYS[2], ARGV[2], ARGV[3]) == 1 then
    redis.call('ZADD', KEYS[4], ARGV[4], 'abandon:' .. ARGV[6])
    redis.call('XADD', KEYS[3], '*', 'e', ARGV[5])
end
return 'ok'
