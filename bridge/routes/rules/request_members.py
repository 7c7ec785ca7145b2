"""The names of the members of the request document: OpenAI's, computed ones, and those that clients add."""

from __future__ import annotations

from typing import Final

from bridge.openai.endpoints import PARAMETERS, STRUCTURAL_MEMBERS

__all__ = ["CONVERSATION", "DOCUMENT_MEMBERS", "VENDOR_MEMBERS"]

_COMPUTED: Final = frozenset(
    {"endpoint", "history", "inputs", "last", "now", "prompt", "raw", "system", "timeout", "turns"}
)
_OTHER: Final = frozenset({"metadata", "store", "verbosity", "safety_identifier", "prompt_cache_key"})

DOCUMENT_MEMBERS: Final = PARAMETERS | STRUCTURAL_MEMBERS | _COMPUTED | _OTHER
"""The members that rules may read by name, besides the session and the values of `calls`."""

CONVERSATION: Final = ("messages", "prompt", "last", "turns", "history", "system", "raw")
"""The members of which a chat request must read at least one."""

VENDOR_MEMBERS: Final = frozenset(
    {
        "add_generation_prompt", "best_of", "cache_prompt", "chat_id", "chat_template",
        "chat_template_kwargs", "continue_final_message", "conversation", "conversation_id", "do_sample",
        "documents", "early_stopping", "echo", "enable_search", "enable_thinking", "extra_body", "format",
        "grammar", "guidance_scale", "guided_choice", "guided_grammar", "guided_json", "guided_regex",
        "id_slot", "ignore_eos", "image_size", "include_stop_str_in_output", "input_type", "keep_alive",
        "length_penalty", "min_p", "min_tokens", "mirostat", "mirostat_eta",
        "mirostat_tau", "negative_prompt", "num_beams", "num_ctx", "num_inference_steps", "options",
        "random_seed", "reasoning", "repetition_penalty", "safe_prompt", "safety_settings", "seed",
        "session_id", "skip_special_tokens", "spaces_between_special_tokens", "structured_outputs",
        "suffix", "template", "tfs_z", "think", "thinking", "thinking_budget", "top_a", "top_k",
        "truncate", "truncate_prompt_tokens", "typical_p", "use_beam_search", "variables",
    }
)  # fmt: skip
"""Members beyond OpenAI's API that are common among clients: vLLM's, llama.cpp's, Ollama's, vendors'."""
