-- wrk: sends one request over and over, and prints the latencies as a line of JSON. Arguments: the model, whether
-- to stream, and the size of an image in the body (0: no image).
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

function init(args)
  local content = '"Name a colour of the sea."'
  local size = tonumber(args[3])
  if size > 0 then
    content = '[{"type":"text","text":' .. content .. '},{"type":"image_url","image_url":{"url":"data:image/png;base64,' ..
      string.rep(alphabet, math.floor(size / #alphabet)) .. '"}}]'
  end
  wrk.method = "POST"
  wrk.body = '{"model":"' .. args[1] .. '","messages":[{"role":"user","content":' .. content ..
    '}],"max_tokens":64,"temperature":0.2,"stream":' .. args[2] .. '}'
  wrk.headers["Content-Type"] = "application/json"
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"responses": %d, "seconds": %f, "p50": %f, "p99": %f, "failed": %d}\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout))
end
