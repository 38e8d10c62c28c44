-- Note a heartbeat, forget the dead, and keep the records of breakers in use. Returns how many workers are alive.
--
-- KEYS  workers (what they tell), beats (when they did), then those of breakers whose time is to be extended
-- ARGV  the worker's id, what it tells, seconds after which a worker is not alive, and is forgotten,
--       a clock for tests or ''

local now = tonumber(ARGV[5])
if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], number_text(now), ARGV[1])
local function forget(from, to)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], from, to)) do
        redis.call('HDEL', KEYS[1], id)
        redis.call('ZREM', KEYS[2], id)
    end
end
forget('-inf', '(' .. number_text(now - tonumber(ARGV[4])))
forget('(' .. number_text(now + SET_BACK), '+inf')  -- they will beat again, if they live
-- With the last worker all go.
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
for index = 3, #KEYS do
    -- A record that is kept for good has no time to extend.
    if redis.call('TTL', KEYS[index]) >= 0 then redis.call('EXPIRE', KEYS[index], AT_REST) end
end
return redis.call('ZCOUNT', KEYS[2], '(' .. number_text(now - tonumber(ARGV[3])), '+inf')
