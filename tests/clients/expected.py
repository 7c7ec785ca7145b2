"""Expected texts by model, for every client."""

from __future__ import annotations

from typing import Final

__all__ = ["ECHO", "IMAGE", "RECORDED_STREAMED", "RECORDED_WHOLE", "ROUTES", "STREAMED", "VECTOR", "WHOLE"]

ECHO: Final = "As a mock AI Assitant, I can only echo your last message:"

# Recorded responses of llmapi-server for services that are not available to the tests.
VECTOR: Final = [0.002306425478309393, -0.009327292442321777, -0.0028842221945524216]
IMAGE: Final = (
    "https://oaidalleapiprodscus.blob.core.windows.net/private/img-abc.png?st=2023&se=2023&sig=xx%3D"
)

# The responses of the shipped routes to "hi".
ROUTES: Final = {
    "chatglm2-6b": "autodev",
    "llama-2-13b": "litellm",
    "llama-anything": "litellm",
    "mock": "llmapi",
    "chatgpt": "llmapi",
    "gpt3": "llmapi",
    "welm": "llmapi",
    "gpt-embedding": "llmapi",
    "dall-e": "llmapi",
    "gpt-1337-turbo-pro-max": "article",
}
WHOLE: Final = {
    "chatglm2-6b": "[chatglm2-6b] 0 turns; you said: hi",
    "llama-2-13b": "You said: hi",
    "llama-anything": "You said: hi",
    "mock": "Mock reply for your prompt:hi",
    "chatgpt": "2 messages; last=hi",
    "gpt3": "\n\ncompletion of hi",
    "welm": "\n\ncompletion of hi",
    "gpt-embedding": f"{VECTOR}",
    "dall-e": IMAGE,
    "gpt-1337-turbo-pro-max": f"{ECHO}hi",
}
STREAMED: Final = {
    **WHOLE,
    "gpt-1337-turbo-pro-max": f"{ECHO}hi ",  # the mock server appends a space to each word
}

# The recorded responses, which are independent of the request.
RECORDED_STREAMED: Final = {
    "autodev_chatglm_stream": "[chatglm2-6b_streaming] 1 turns; you said: What did I just say?",
    "autodev_chatglm_1msg": "[chatglm2-6b_streaming] 0 turns; you said: hi",
    "autodev_chatglm_ping": "[m] 0 turns; you said: hi",
    "autodev_proxy_stream": f"{ECHO}What did I just say? ",
    "tds_stream": f"{ECHO}Say this is a test ",
    "llmapi_ask_ok": "Mock reply for your prompt:hello",
    "llmapi_ask_utf8": "Mock reply for your prompt:你好",
}
RECORDED_WHOLE: Final = {
    **{name: text for name, text in RECORDED_STREAMED.items() if name != "tds_stream"},
    "tds_nonstream": f"{ECHO}Say this is a test",
    "llmapi_ask_sensitive": "输入中包含敏感内容",
}
