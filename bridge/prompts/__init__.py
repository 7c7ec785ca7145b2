"""Messages to one string, for servers that complete a text instead of a chat.

    messages ─▶ Prompt.render ─▶ "<|im_start|>user\\nhi<|im_end|>\\n<|im_start|>assistant\\n"
                Prompt.stop   ─▶ ("<|im_end|>",)

A prompt is chosen when the file is loaded: by name (`PROMPTS`), from a Jinja template of the file, or from
the `tokenizer_config.json` of a model. To add a named prompt, write a `PromptFormat` in `formats.py` and a
row of `PROMPTS`.

Markers in a client's texts are not escaped, as the models' own templates do not escape markers either.
"""

from bridge.prompts.chat_templates import template_prompt, tokenizer_prompt
from bridge.prompts.formats import PROMPTS
from bridge.prompts.prompt import Prompt

__all__ = ["PROMPTS", "Prompt", "template_prompt", "tokenizer_prompt"]
