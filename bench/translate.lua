-- OpenAI's chat completions in front of LiteLLM's custom format, as usually written for nginx.
local cjson = require "cjson.safe"
local M = {}

-- A message's text: the custom format has no place for the other parts, such as images.
local function text_of(content)
  if type(content) ~= "table" then return content end
  local texts = {}
  for _, part in ipairs(content) do texts[#texts + 1] = part.text end
  return table.concat(texts)
end

function M.request()
  ngx.req.read_body()
  local asked = cjson.decode(ngx.req.get_body_data() or "")
  if not asked then return ngx.exit(400) end
  local texts = {}
  for i, message in ipairs(asked.messages) do texts[i] = text_of(message.content) end
  ngx.ctx.model = asked.model
  ngx.ctx.stream = asked.stream
  ngx.req.set_body_data(cjson.encode({
    model = asked.model,
    stream = asked.stream,
    params = { prompt = { table.concat(texts, " ") }, max_tokens = asked.max_tokens, temperature = asked.temperature },
  }))
end

function M.head()
  ngx.header.content_length = nil
  ngx.header.content_type = ngx.ctx.stream and "text/event-stream" or "application/json"
end

local function chunk(delta, finish)
  return "data: " .. cjson.encode({
    id = "chatcmpl-" .. ngx.var.connection, object = "chat.completion.chunk", created = ngx.time(), model = ngx.ctx.model,
    choices = { { index = 0, delta = delta, finish_reason = finish } },
  }) .. "\n\n"
end

local function whole()
  local doc = cjson.decode(ngx.ctx.data)
  local text = doc and doc.data and doc.data[1] and doc.data[1].output[1]
  if not text then return '{"error":{"message":"invalid response"}}' end
  return cjson.encode({
    id = "chatcmpl-" .. ngx.var.connection, object = "chat.completion", created = ngx.time(), model = ngx.ctx.model,
    choices = { { index = 0, message = { role = "assistant", content = text }, finish_reason = "stop" } },
  })
end

function M.body()
  local ctx = ngx.ctx
  local data, last = ngx.arg[1], ngx.arg[2]
  ctx.data = (ctx.data or "") .. data
  if not ctx.stream then
    ngx.arg[1] = last and whole() or nil
    return
  end
  local out = {}
  while true do
    local at = ctx.data:find("\n\n", 1, true)
    if not at then break end
    local line = ctx.data:sub(7, at - 1)
    ctx.data = ctx.data:sub(at + 2)
    if line == "[DONE]" then
      out[#out + 1] = chunk({}, "stop") .. "data: [DONE]\n\n"
    else
      local frame = cjson.decode(line)
      if frame then out[#out + 1] = chunk({ content = frame.text }) end
    end
  end
  ngx.arg[1] = table.concat(out)
end

return M
