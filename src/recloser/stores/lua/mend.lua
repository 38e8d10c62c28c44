-- Drop breakers that cannot be read, and return some others as they stand: {name, fields and values} for each, or
-- {name} of what is no hash. What is dropped becomes news, so that whoever knows more restores it.
--
-- KEYS  breakers (names by revision), revision
-- ARGV  prefix of the breakers' keys (of the same slot), the first and the last place to return, and names to drop

for _, name in ipairs({unpack(ARGV, 4)}) do
    local key = ARGV[1] .. name
    local revision = number_text(tonumber(redis.call('GET', KEYS[2]) or '0') + 1)
    local record = string.gsub(UNKNOWN, '"revision":0', '"revision":' .. revision)
    redis.call('DEL', key)
    redis.call('HSET', key, 'epoch', '0:0', 'state', 'closed', 'mode', 'auto', 'revision', revision, 'record', record)
    redis.call('EXPIRE', key, AT_REST)
    redis.call('ZADD', KEYS[1], revision, name)
    redis.call('SET', KEYS[2], revision)
end
local found = {}
for index, name in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3])) do
    local held = redis.pcall('HGETALL', ARGV[1] .. name)
    if held.err and not string.find(held.err, 'WRONGTYPE', 1, true) then
        return held -- a right that is missing, say, tells nothing about what stands there
    end
    found[index] = held.err and {name} or {name, held}
end
return found
