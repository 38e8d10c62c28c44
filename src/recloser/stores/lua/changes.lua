-- Read the records that have changed since a revision: [now, revision, [[name, record], ...]].
--
-- KEYS  revision, breakers (names by revision)
-- ARGV  the revision, prefix of the breakers' keys (of the same slot), a clock for tests or ''

local now = ARGV[3]
if now == '' then
    local time = redis.call('TIME')
    now = number_text(tonumber(time[1]) + tonumber(time[2]) / 1e6)
end
local revision = tonumber(redis.call('GET', KEYS[1]) or '0')
local since = tonumber(ARGV[1])
if since > revision then since = 0 end  -- the server has lost what it knew
local records = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. number_text(since), '+inf')) do
    local record = redis.call('HGET', ARGV[2] .. name, 'record')
    if record then records[#records + 1] = '[' .. json(name) .. ',' .. record .. ']' end
end
return '[' .. now .. ',' .. number_text(revision) .. ',[' .. table.concat(records, ',') .. ']]'
