// The official Node client against two bridges: before the embedded servers, and before recorded ones.
//
//   clients.mjs DEMO_URL RECORDED_URL  ─▶  one JSON object: what each call gave, or the error it threw

import OpenAI from "openai";

const [demoURL, recordedURL] = process.argv.slice(2);
const [demo, recorded] = [demoURL, recordedURL].map(
  (url) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 }),
);
const bare = new OpenAI({ baseURL: demoURL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "hi" }];

const MODELS = [
  "chatglm2-6b", "llama-2-13b", "llama-anything", "mock", "chatgpt", "gpt3", "welm", "gpt-embedding", "dall-e",
  "gpt-1337-turbo-pro-max",
];
const RECORDED = ["7/autodev_chatglm_stream", "1/autodev_chatglm_ping", "7/autodev_proxy_stream", "7/tds_stream"];

async function whole(client, model) {
  const completion = await client.chat.completions.create({ model, messages });
  const [choice] = completion.choices;
  return [choice.message.content, choice.message.role, choice.finish_reason, choice.index, completion.object];
}

async function streamed(client, model) {
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  const said = { text: "", roles: [], finishes: [], ids: new Set() };
  for await (const chunk of stream) {
    said.ids.add(chunk.id);
    for (const choice of chunk.choices) {
      said.text += choice.delta.content ?? "";
      if (choice.delta.role) said.roles.push(choice.delta.role);
      if (choice.finish_reason) said.finishes.push(choice.finish_reason);
    }
  }
  return [said.text, said.roles, said.finishes, said.ids.size];
}

async function helped(client, model) {
  const runner = client.chat.completions.stream({ model, messages });
  let deltas = "";
  runner.on("content", (delta) => (deltas += delta));
  const content = await runner.finalContent();
  const completion = await runner.finalChatCompletion();
  return [content, deltas === content, completion.choices[0].finish_reason];
}

async function completed(client, parameters) {
  const completion = await client.completions.create(parameters);
  return completion.choices.map((choice) => [choice.index, choice.text, choice.finish_reason]);
}

async function completedStreamed(client, parameters) {
  const texts = {};
  for await (const chunk of await client.completions.create({ ...parameters, stream: true })) {
    for (const choice of chunk.choices) texts[choice.index] = (texts[choice.index] ?? "") + choice.text;
  }
  return texts;
}

async function counted(client, model) {
  const parameters = { model, messages, stream: true, stream_options: { include_usage: true } };
  const usages = [];
  for await (const chunk of await client.chat.completions.create(parameters)) {
    if (chunk.usage) usages.push([chunk.choices.length, chunk.usage.total_tokens]);
  }
  return usages;
}

async function embedded(client, parameters) {
  const answer = await client.embeddings.create({ model: "gpt-embedding", ...parameters });
  return [answer.data.map((one) => [one.index, one.embedding]), answer.usage ?? null];
}

async function headers() {
  const parameters = { model: "llama-2-13b", messages, seed: 7 };
  const options = { headers: { "X-Request-Id": "from-node" } };
  const { data, response } = await demo.chat.completions.create(parameters, options).withResponse();
  return [
    data._request_id,
    response.headers.get("x-bridge-route"),
    response.headers.get("x-bridge-dropped"),
    response.headers.get("content-type"),
  ];
}

async function aborted(client, model) {
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  for await (const chunk of stream) {
    stream.controller.abort();
    return chunk.choices[0].delta.role;
  }
}

async function failure(call) {
  try {
    return { thrown: null, gave: await call() };
  } catch (error) {
    return {
      thrown: error.constructor.name,
      status: error.status ?? null,
      code: error.code ?? null,
      param: error.param ?? null,
      type: error.type ?? null,
      retryAfter: error.headers?.get("retry-after") ?? null,
      message: error.message,
    };
  }
}

async function each(names, call) {
  const results = {};
  for (const name of names) results[name] = await call(name);
  return results;
}

const ask = (client, model, more = {}) => failure(() => client.chat.completions.create({ model, messages, ...more }));

console.log(
  JSON.stringify({
    whole: await each(MODELS, (model) => whole(demo, model)),
    streamed: await each(MODELS, (model) => streamed(demo, model)),
    helped: await each(MODELS, (model) => helped(demo, model)),
    recorded: await each(RECORDED, (model) => streamed(recorded, model)),
    recordedHelped: await each(RECORDED, (model) => helped(recorded, model)),
    session: await whole(recorded, "7/llmapi_ask_utf8"),
    withoutVersion: await whole(bare, "mock"),
    completion: await completed(demo, { model: "mock", prompt: "hi" }),
    completions: await completed(demo, { model: "llama-2-13b", prompt: ["hi", "ho"] }),
    completionStreamed: await completedStreamed(demo, { model: "chatglm2-6b", prompt: ["hi", "ho"] }),
    models: (await demo.models.list()).data.map((model) => model.id),
    model: (await demo.models.retrieve("llama-anything")).id,
    headers: await headers(),
    embedded: await embedded(demo, { input: ["one", "two"] }),
    embeddedExactly: await embedded(demo, { input: "one", encoding_format: "float" }),
    pictured: (await demo.images.generate({ model: "dall-e", prompt: "a cat", n: 2 })).data.map((one) => one.url),
    usage: await counted(recorded, "counted/node"),
    noUsage: await counted(demo, "mock"),
    aborted: await aborted(recorded, "made/node-stays"),
    errors: {
      empty: await ask(demo, "mock", { messages: [] }),
      type: await ask(demo, "mock", { temperature: "hot" }),
      key: await ask(new OpenAI({ baseURL: process.argv[4], apiKey: "wrong", maxRetries: 0 }), "m"),
      model: await ask(demo, "gone"),
      modelRetrieved: await failure(() => demo.models.retrieve("gone")),
      path: await failure(() => demo.post("/nothing", { body: {} })),
      method: await failure(() => demo.get("/chat/completions")),
      refused: await ask(recorded, "0/llmapi2023_ask_missing_content"),
      limited: await ask(recorded, "made/node-limited"),
      failed: await ask(recorded, "0/autodev_chatglm_empty"),
      cutAtOnce: await ask(recorded, "0/autodev_proxy_empty", { stream: true }),
      late: await ask(recorded, "0/llmapi_b_fail_ask"),
      midway: await failure(() => streamed(recorded, "made/node-midway")),
      midwayHelped: await failure(() => helped(recorded, "made/node-midway")),
      cut: await failure(() => streamed(recorded, "made/node-cut")),
      cutHelped: await failure(() => helped(recorded, "made/node-cut")),
    },
  }),
);
