"""The rules of a minimal route for each tool format."""

from __future__ import annotations

__all__ = ["RULES"]

_REASONS = "map: {end_turn: stop, tool_use: tool_calls, COMPLETE: stop, TOOL_CALL: tool_calls, STOP: stop}"

RULES = {
    "ollama": """
        tools: ollama
        request: {body: {model: $.model, messages: $.messages, tools: $.tools, stream: $.stream}}
        response: {text: $.message.content, finish_reason: $.done_reason}
        stream: {framing: ndjson, done: {$.done: true}}
        """,
    "anthropic": f"""
        tools: anthropic
        request:
          body:
            model: $.model
            system: $.system
            messages: $.turns
            tools: $.tools
            tool_choice: $.tool_choice
            stream: $.stream
        response:
          text: $.content[?(@.type=="text")].text
          finish_reason: {{path: $.stop_reason, {_REASONS}}}
        stream:
          text: $.delta.text
          finish_reason: {{path: $.delta.stop_reason, {_REASONS}}}
          done: {{$.type: message_stop}}
        """,
    "gemini": f"""
        tools: gemini
        request:
          body:
            contents: $.turns
            systemInstruction:
              $when: {{$.system: {{exists: true}}}}
              $then: {{parts: [{{text: $.system}}]}}
            tools: $.tools
            toolConfig: $.tool_choice
        response:
          choices: $.candidates
          text: $item.content.parts[*].text
          finish_reason: {{path: $item.finishReason, {_REASONS}}}
        stream: {{}}
        """,
    "bedrock": f"""
        tools: bedrock
        request:
          body:
            messages: $.turns
            system: {{$when: {{$.system: {{exists: true}}}}, $then: [{{text: $.system}}]}}
            toolConfig:
              $when: {{$.tools: {{exists: true}}}}
              $then: {{tools: $.tools, toolChoice: $.tool_choice}}
        response:
          text: $.output.message.content[*].text
          finish_reason: {{path: $.stopReason, {_REASONS}}}
        stream:
          framing: eventstream
          text: $.delta.text
        """,
    "cohere": f"""
        tools: cohere
        request:
          body:
            model: $.model
            messages: $.messages
            tools: $.tools
            tool_choice: $.tool_choice
            stream: $.stream
        response:
          text: ['$.message.content[?(@.type=="text")].text', $.message.tool_plan]
          finish_reason: {{path: $.finish_reason, {_REASONS}}}
        stream:
          text: [$.delta.message.content.text, $.delta.message.tool_plan]
          finish_reason: {{path: $.delta.finish_reason, {_REASONS}}}
          done: {{$.type: message-end}}
        """,
}
"""Rules by the name of the format."""
