"""The shelf of presets: what each tells of itself, its samples, and that every recorded server has one."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from bridge.cli.check import check_sample
from bridge.cli.presets import summaries
from bridge.core.errors import ConfigError
from bridge.loader import read_presets
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.spec import ABSENT
from bridge.routes.table import load
from tests.case_files import CASES
from tests.cli.command import Run, run
from tests.presets.preset_bridge import key_of, load_with_presets

if TYPE_CHECKING:
    from bridge.routes.rules.route import Route

__all__ = ["run"]

PRESETS = read_presets()

# Every server of whose format there is a record, and the preset for it.
RECORDS = {
    "anthropic_complete": "anthropic-complete",
    "anthropic_messages": "anthropic",
    "azure_openai": "azure-openai",
    "baidu_ernie": "baidu-ernie",
    "bedrock_converse": "bedrock",
    "chatglm2_openai_api": "chatglm2-openai-api",
    "chatglm6b_api": "chatglm-6b",
    "cohere_chat_v2": "cohere",
    "cohere_generate": "cohere-generate",
    "coze_v3": "coze",
    "dashscope_text": "dashscope",
    "dify_chat": "dify",
    "fastchat_worker": "fastchat-worker",
    "gemini_array": "gemini-array",
    "gemini_sse": "gemini",
    "hf_inference_api": "huggingface",
    "iflytek_spark_ws": "iflytek-spark",
    "koboldai_generate": "koboldai",
    "koboldcpp_stream": "koboldcpp",
    "kserve_v1": "kserve-v1",
    "kserve_v2": "kserve-v2",
    "litellm_custom": "litellm-custom",
    "llamacpp_completion": "llamacpp",
    "llamacpp_embedding": "llamacpp-embedding",
    "localai": "localai",
    "mlflow_invocations": "mlflow",
    "moonshot": "moonshot",
    "ollama_chat": "ollama",
    "ollama_embed": "ollama-embed",
    "ollama_generate": "ollama-generate",
    "openai_completions": "openai-completions",
    "replicate_poll": "replicate",
    "sglang_generate": "sglang",
    "tencent_welm": "welm",
    "textgen_webui_stream": "textgen-webui",
    "tgi_generate": "tgi",
    "torchserve": "torchserve",
    "triton_trtllm": "triton-trtllm",
    "triton_vllm": "triton-vllm",
    "vllm_demo_nul": "vllm-demo",
    "zhipu_v3_sse": "zhipu-v3",
    "zhipu_v4": "zhipu",
}
# Presets of which there is no record: the server of the first run, and relatives of those that have one.
OTHERS = {"bedrock-anthropic", "llmapi", "ollama-embeddings", "openai-embeddings", "openai-images"}

every_preset = pytest.mark.parametrize("name", PRESETS)


@pytest.mark.parametrize("record", RECORDS)
def test_every_recorded_server_has_a_preset_and_a_case(record: str) -> None:
    (route,) = yaml.safe_load((CASES / record / "route.yaml").read_text(encoding="utf-8"))["routes"]
    assert route["preset"] == RECORDS[record]


def test_the_records_are_all_of_them() -> None:
    assert len(RECORDS) == 42
    assert set(PRESETS) == {*RECORDS.values(), *OTHERS}
    assert OTHERS.isdisjoint(RECORDS.values())


@every_preset
def test_the_samples_hold_on_the_preset_as_it_stands(name: str) -> None:
    route = bare(name)
    asked = [sample.request.get("stream", False) for _, sample in route.samples]
    assert {True, False} <= set(asked) or "chat" not in route.serves, "a whole answer and a streamed one"
    assert len(asked) > 1
    # What is binary on the wire stands in no sample; its case has it.
    unread = [sample for _, sample in route.samples if sample.receives is ABSENT]
    assert not unread or route.response.streaming is None or route.response.streaming.framing.has_messages
    assert [fault for _, sample in route.samples for fault in check_sample(route, sample)] == []


@every_preset
def test_a_preset_says_what_a_person_needs(name: str) -> None:
    head, _, rest = PRESETS[name].partition("\n\n")
    lines = head.split("\n")
    assert all(line == "#" or line.startswith("# ") for line in lines)
    assert lines[0].endswith(".")
    for word in ("Server: ", "Base URL: ", "Key: ", "It cannot: "):
        assert any(line.startswith(f"# {word}") for line in lines), word
    assert all(len(line) <= 112 for line in lines)
    assert {"name", "models", "upstream"}.isdisjoint(yaml.safe_load(rest))


@every_preset
def test_the_example_at_its_head_loads(name: str) -> None:
    head = PRESETS[name].partition("\n\n")[0].split("\n")
    text = textwrap.dedent("\n".join(line[1:] for line in head if line.startswith("#   ")))
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)", text), "a-key.of-two-parts")
    table = load(text, name, LoadEnvironment(variables, lambda name: "", PRESETS))
    assert len(text.splitlines()) <= 6
    assert f"- preset: {name}\n" in text
    (route,) = table.routes
    assert route.samples == (), "they are of the preset, not of a route that may change it"


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("preset: azure-openai", "1:19: routes[0].preset: the server of `azure-openai` wants a key"),
        ("preset: olama", "1:19: routes[0].preset: there is no preset `olama`"),
        ("preset: zhipu-v3, auth: {value: k}", "1:35: routes[0].auth: this is no way to show a key"),
        ("preset: zhipu-v3, auth: {jwt: {}}", "1:41: routes[0].auth.jwt: `key` is missing"),
        ("preset: null", "1:19: routes[0].preset: nothing is not allowed here"),
        ("preset: [ollama]", "1:19: routes[0].preset: a list is not allowed here"),
    ],
)
def test_what_is_wrong_is_said_once_where_the_preset_is_named(route: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_with_presets(f"routes: [{{{route}, models: m, upstream: 'http://u'}}]")
    (problem,) = raised.value.problems
    assert str(problem).startswith(f"routes.yaml:{said}")


@pytest.mark.parametrize(
    ("preset", "key"),
    [
        ("azure-openai", '{value: "${KEY}"}'),
        ("zhipu-v3", '{jwt: {key: "${KEY}"}}'),
        ("iflytek-spark", '{hmac: {key: "${KEY}", secret: "${SECRET}"}}'),
        ("baidu-ernie", '{oauth2: {client_id: "${KEY}", client_secret: "${SECRET}"}}'),
        ("bedrock", "{aws: {region: us-east-1}}"),
    ],
)
def test_the_key_that_is_missing_is_shown(preset: str, key: str) -> None:
    text = f"routes: [{{preset: {preset}, models: m, upstream: 'http://u'"
    with pytest.raises(ConfigError) as raised:
        load_with_presets(text + "}]")
    assert str(raised.value).endswith(f"\n  expected the key, such as auth: {key}")
    filled = key.replace("${KEY}", "an-id.a-secret").replace("${SECRET}", "s")
    (route,) = load_with_presets(text + f", auth: {filled}}}]").routes
    assert route.request.non_streaming.auth or route.request.non_streaming.credential_headers


def test_the_command_lists_them(run: Run) -> None:
    result = run("presets", text=None)
    assert (result.code, result.errors) == (0, "")
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(PRESETS)
    assert {line.index(summary) for line, summary in zip(lines, summaries().values(), strict=True)} == {
        max(map(len, PRESETS)) + 2
    }


def test_the_command_prints_one(run: Run) -> None:
    assert run("presets", "ollama", text=None) == (0, PRESETS["ollama"], "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("olama", "there is no preset `olama`; did you mean `ollama`?"),
        ("kserve_v1", "there is no preset `kserve_v1`; did you mean `kserve-v1`?"),
        ("x", "there is no preset `x`; `format-bridge presets` lists them"),
    ],
)
def test_the_command_names_the_nearest(name: str, said: str, run: Run) -> None:
    assert run("presets", name, text=None) == (1, "", f"format-bridge: {said}\n")


def bare(name: str) -> Route:
    """The preset itself as a route, which needs but a model, an upstream and a key."""
    (route,) = load_with_presets(
        f"routes: [{{preset: {name}, models: any, upstream: 'http://upstream', {key_of(name)}}}]"
    ).routes
    # The samples are no part of what a route takes over.
    only = "routes:\n  - models: any\n    upstream: http://upstream\n    samples:"
    _, _, samples = PRESETS[name].partition("\nsamples:")
    (told,) = load_with_presets(f"{only}{textwrap.indent(samples, '    ')}").routes
    return replace(route, samples=told.samples)
