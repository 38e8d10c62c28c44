-- Forget a worker.
--
-- KEYS  workers, beats
-- ARGV  the worker's id

redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
