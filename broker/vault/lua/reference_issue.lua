#!lua
-- Issue a reference to a connection, together with its audit event.
-- KEYS: record, reference, outbox
-- ARGV: tenant, audience, issuing client, uses, end (ms), event, provider scopes that are needed ("a b", "" = any)
-- Answers "ok", or what stands in the way: "absent" or the record's status.
local tenant, status = unpack(redis.call('HMGET', KEYS[1], 't', 'st'))
if not tenant or tenant ~= ARGV[1] then
    return 'absent'
end
if status ~= 'active' then
    return status
end
redis.call('HSET', KEYS[2], 'aud', ARGV[2], 'iss', ARGV[3], 'left', ARGV[4], 'exp', ARGV[5], 'need', ARGV[7])
redis.call('PEXPIREAT', KEYS[2], ARGV[5])
redis.call('XADD', KEYS[3], '*', 'e', ARGV[6])
return 'ok'
