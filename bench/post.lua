-- wrk: one request over and over, and its latencies as a line of JSON.
function init(args)
  local body = '{"model":"' .. args[1] .. '","messages":[{"role":"user","content":"' .. string.rep("x", tonumber(args[3])) ..
    '"}],"max_tokens":64,"temperature":0.2,"stream":' .. args[2] .. '}'
  wrk.method = "POST"
  wrk.body = body
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = "Bearer bench"
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"answers": %d, "seconds": %f, "p50": %f, "p99": %f, "failed": %d}\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout))
end
