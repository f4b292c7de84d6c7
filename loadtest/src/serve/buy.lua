-- One buy as one Redis script: idempotency key, per-user limit, rate window, stock, hold with expiry, audit entry.
-- KEYS: idempotency, rate window, user's units, stock, holds by expiry, audit stream
-- ARGV: user, product, quantity, hold id
local seen = redis.call('GET', KEYS[1])
if seen then return seen end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local quantity = tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 10000)
if redis.call('ZCARD', KEYS[2]) >= 5 then return 'rate_limited' end
redis.call('ZADD', KEYS[2], now, ARGV[4])
redis.call('PEXPIRE', KEYS[2], 10000)
local outcome = 'held'
if tonumber(redis.call('GET', KEYS[3]) or '0') + quantity > 1000 then
  outcome = 'per_user_limit'
elseif tonumber(redis.call('GET', KEYS[4]) or '0') < quantity then
  outcome = 'sold_out'
else
  redis.call('DECRBY', KEYS[4], quantity)
  redis.call('INCRBY', KEYS[3], quantity)
  redis.call('ZADD', KEYS[5], now + 300000, ARGV[4])
end
redis.call('SET', KEYS[1], outcome, 'PX', 604800000)
redis.call('XADD', KEYS[6], 'MAXLEN', '~', 1000000, '*', 'user', ARGV[1], 'product', ARGV[2], 'outcome', outcome, 'hold', ARGV[4])
return outcome
