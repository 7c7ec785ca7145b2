"""Messages to one string, for servers that complete a text instead of carrying on a conversation.

    messages ─▶ Prompt.render ─▶ "<|im_start|>user\\nhi<|im_end|>\\n<|im_start|>assistant\\n"
                Prompt.stop   ─▶ ("<|im_end|>",)

A prompt is found once, at load: by name (`PROMPTS`), from a Jinja template of the file's own, or from the
`tokenizer_config.json` that comes with a model. It reads only the members of the request document that it
names in `variables`, so the others may be made on demand.

Markers inside what a client wrote are left alone, as they are by the models' own templates.
"""

from bridge.prompts.chat_templates import template_prompt, tokenizer_prompt
from bridge.prompts.formats import PROMPTS
from bridge.prompts.prompt import Prompt

__all__ = ["PROMPTS", "Prompt", "template_prompt", "tokenizer_prompt"]
