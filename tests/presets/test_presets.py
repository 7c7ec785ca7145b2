"""The presets: head comments, samples, problems, and a recorded case for each."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
import yaml

from bridge.cli.presets import summaries
from bridge.cli.samples import check_sample
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

# Presets without a recorded case. llmapi is tested with its demo server; the others forward OpenAI's bodies.
WITHOUT_CASE = {"llmapi", "openai-embeddings", "openai-images"}

every_preset = pytest.mark.parametrize("name", PRESETS)


@every_preset
def test_every_preset_has_a_recorded_case(name: str) -> None:
    assert (name in presets_of_cases()) is (name not in WITHOUT_CASE)


def test_every_case_is_over_a_preset() -> None:
    assert presets_of_cases() <= set(PRESETS)


@cache
def presets_of_cases() -> set[str]:
    """Return the presets that the routes of `cases/` name."""
    files = (folder / "route.yaml" for folder in CASES.iterdir())
    return {yaml.safe_load(file.read_text(encoding="utf-8"))["routes"][0]["preset"] for file in files}


@every_preset
def test_the_samples_of_a_preset_pass(name: str) -> None:
    route = bare(name)
    streaming = [sample.request.get("stream", False) for _, sample in route.samples]
    assert {True, False} <= set(streaming) or "chat" not in route.serves, (
        "a non-streaming and a streaming sample"
    )
    assert len(streaming) > 1
    # Binary messages are in the case of the preset and not in its samples.
    unread = [sample for _, sample in route.samples if sample.receives is ABSENT]
    assert not unread or route.response.streaming is None or route.response.streaming.framing.has_messages
    assert [fault for _, sample in route.samples for fault in check_sample(route, sample)] == []


@every_preset
def test_the_head_of_a_preset_is_complete(name: str) -> None:
    head, _, rest = PRESETS[name].partition("\n\n")
    lines = head.split("\n")
    assert all(line == "#" or line.startswith("# ") for line in lines)
    assert lines[0].endswith(".")
    for word in ("Server: ", "Base URL: ", "Key: ", "It cannot: "):
        assert any(line.startswith(f"# {word}") for line in lines), word
    assert all(len(line) <= 112 for line in lines)
    assert {"name", "models", "upstream"}.isdisjoint(yaml.safe_load(rest))


@every_preset
def test_the_example_in_the_head_is_valid(name: str) -> None:
    head = PRESETS[name].partition("\n\n")[0].split("\n")
    text = textwrap.dedent("\n".join(line[1:] for line in head if line.startswith("#   ")))
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)", text), "a-key.of-two-parts")
    table = load(text, name, LoadEnvironment(variables, lambda name: "", PRESETS))
    assert len(text.splitlines()) <= 6
    assert f"- preset: {name}\n" in text
    (route,) = table.routes
    assert route.samples == (), "samples are not inherited by routes"
    warnings = [str(warning) for warning in table.warnings if "not listed at /v1/models" not in str(warning)]
    assert warnings == []


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("preset: azure-openai", "1:19: routes[0].preset: the preset `azure-openai` requires a key"),
        ("preset: olama", "1:19: routes[0].preset: unknown preset `olama`"),
        ("preset: zhipu-v3, auth: {value: k}", "1:35: routes[0].auth: not a valid way to authenticate"),
        ("preset: zhipu-v3, auth: {jwt: {}}", "1:41: routes[0].auth.jwt: `key` is missing"),
        ("preset: null", "1:19: routes[0].preset: nothing is not allowed here"),
        ("preset: [ollama]", "1:19: routes[0].preset: a list is not allowed here"),
    ],
)
def test_a_problem_is_reported_once_at_the_name_of_the_preset(route: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_with_presets(f"routes: [{{{route}, models: m, upstream: 'http://u'}}]")
    (problem,) = raised.value.problems
    assert str(problem).startswith(f"routes.yaml:{message}")


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
def test_a_missing_key_is_reported_with_its_form(preset: str, key: str) -> None:
    text = f"routes: [{{preset: {preset}, models: m, upstream: 'http://u'"
    with pytest.raises(ConfigError) as raised:
        load_with_presets(text + "}]")
    assert str(raised.value).endswith(f"\n  expected the key, such as auth: {key}")
    filled = key.replace("${KEY}", "an-id.a-secret").replace("${SECRET}", "s")
    (route,) = load_with_presets(text + f", auth: {filled}}}]").routes
    assert route.request.non_streaming.auth or route.request.non_streaming.credential_headers


def test_the_command_lists_the_presets(run: Run) -> None:
    result = run("presets", text=None)
    assert (result.code, result.errors) == (0, "")
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(PRESETS)
    assert {line.index(summary) for line, summary in zip(lines, summaries().values(), strict=True)} == {
        max(map(len, PRESETS)) + 2
    }


def test_the_command_prints_a_preset(run: Run) -> None:
    assert run("presets", "ollama", text=None) == (0, PRESETS["ollama"], "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("olama", "unknown preset `olama`; did you mean `ollama`?"),
        ("kserve_v1", "unknown preset `kserve_v1`; did you mean `kserve-v1`?"),
        ("x", "unknown preset `x`; `format-bridge presets` lists the presets"),
    ],
)
def test_the_command_suggests_the_closest_name(name: str, message: str, run: Run) -> None:
    assert run("presets", name, text=None) == (1, "", f"format-bridge: {message}\n")


def bare(name: str) -> Route:
    """Return a route over the preset with a model, an upstream and a key, and with the preset's samples."""
    (route,) = load_with_presets(
        f"routes: [{{preset: {name}, models: any, upstream: 'http://upstream', {key_of(name)}}}]"
    ).routes
    # A route does not inherit the samples of its preset.
    only = "routes:\n  - models: any\n    upstream: http://upstream\n    samples:"
    _, _, samples = PRESETS[name].partition("\nsamples:")
    (sampled,) = load_with_presets(f"{only}{textwrap.indent(samples, '    ')}").routes
    return replace(route, samples=sampled.samples)


@every_preset
def test_a_preset_as_a_route_is_a_valid_file(name: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = run("presets", name, "--route", text=None)
    assert (printed.code, printed.errors) == (0, "")
    assert " # <- yours" in printed.out
    for variable in re.findall(r"\$\{(\w+)", printed.out):
        monkeypatch.setenv(variable, "a-key.of-two-parts")
    listed = printed.out.replace('\n    models: "*"', '\n    lists: [a]\n    models: "*"')
    checked = run("check", "routes.yaml", "--strict", text=listed)
    assert (checked.code, checked.errors) == (0, ""), checked.out
    assert " 0 samples" not in checked.out
    assert "preset:" not in yaml.safe_load(printed.out)["routes"][0]
