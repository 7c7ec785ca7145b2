"""Templates that would loop for ever or take gigabytes end with an error that names their line."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from bridge.core.errors import BridgeError
from bridge.prompts.chat_templates import template_prompt, tokenizer_prompt

MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]

# The sandbox itself limits `range`, and Python the depth of calls.
LIMIT = r"(takes too much|RecursionError|OverflowError|'lipsum' is undefined).*\(line 2 of the template\)"


def _doubled(value: str) -> str:
    """Return a template that doubles a value a hundred times."""
    loop = "{% for i in range(99) %}{% set ns.t = " + value + " %}{% endfor %}"
    return "{% set ns = namespace(t='x') %}" + loop + "{{ ns.t }}"


LOOPS = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) if j < 0 %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(200) }}",
    "{% for i in [1] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "{% for i in range(99999) %}{% set x = range(99999) | select('gt', 100000) | list %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = 5 in (range(99999) | list) %}{% endfor %}",
    "{% for i in range(999) %}{% set x = messages * 99999 %}{% endfor %}",
    "{% set x = 'x' * 10000000 %}{% for i in range(99999) %}{% set y = x == x[:10000000] %}{% endfor %}",
    "{% set ns = namespace(t='') %}{% for i in range(9999) %}{% set ns.t = ns.t + 'x' * 9999 %}{% endfor %}",
    _doubled("[ns.t, ns.t]"),
    _doubled("{'a': ns.t, 'b': ns.t}"),
    _doubled("dict(a=ns.t, b=ns.t)"),
    _doubled("namespace(a=ns.t, b=ns.t)"),
]

VALUES = [
    "{{ 'x' * 10**10 }}",
    "{{ 10**10 * 'x' }}",
    "{{ [0] * 10**10 }}",
    "{{ 9 ** (9 ** 9) }}",
    "{{ 9 ** 99999999 }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%*d' % (999999999, 1) }}",
    "{{ '%999999999d' | format(1) }}",
    "{{ '{:999999999}'.format(1) }}",
    "{{ '{:{}}'.format(1, 999999999) }}",
    "{{ '{a:999999999}'.format_map({'a': 1}) }}",
    "{{ 'x'.ljust(999999999) }}",
    "{{ 'x'.center(999999999) }}",
    "{{ 'x'.zfill(999999999) }}",
    "{{ ('\t' * 99999).expandtabs(99999) }}",
    "{{ (1).to_bytes(999999999, 'big') }}",
    "{{ ('x' * 99999).replace('x', 'y' * 99999) }}",
    "{{ ('x' * 99999) | replace('x', 'y' * 99999) }}",
    "{{ ('x' * 99999).join('y' * 99999) }}",
    "{{ (range(99999) | list) | join('x' * 99999) }}",
    "{{ ('x' * 99999).translate({120: 'y' * 99999}) }}",
    "{{ 'x' | center(999999999) }}",
    "{{ 'x' | indent(999999999) }}",
    "{{ ('\\n' * 9999999) | indent(9999) }}",
    "{{ [1] | batch(999999999, 0) | list }}",
    "{{ [1] | slice(999999999) | list }}",
    "{{ ('x' * 9999999) | wordwrap(1, wrapstring='y' * 9999) }}",
    "{{ messages | tojson(indent=999999999) }}",
    "{{ lipsum(n=99999999) }}",
    _doubled("ns.t ~ ns.t"),
    _doubled("ns.t + ns.t"),
    "{% set x = 'x' * 9999999 %}{% for i in range(99999) %}{{ x }}{% endfor %}",
    "{% macro f() %}{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}{% endmacro %}{{ f() }}",
    "{% set t %}{% for i in range(99999) %}" + "x" * 99_999 + "{% endfor %}{% endset %}",
    "{% set ns = namespace(n=3) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
]


@pytest.mark.parametrize("source", LOOPS)
def test_a_template_that_loops_for_long_is_an_error(source: str) -> None:
    assert_limited(source)


@pytest.mark.parametrize("source", VALUES)
def test_a_template_that_makes_a_large_value_is_an_error(source: str) -> None:
    tracemalloc.start()
    try:
        assert_limited(source)
        assert tracemalloc.get_traced_memory()[1] < 2**29
    finally:
        tracemalloc.stop()


def assert_limited(source: str) -> None:
    prompt = template_prompt("first line\n" + source)
    with pytest.raises(BridgeError, match=LIMIT) as raised:
        prompt.render({"messages": MESSAGES})
    assert (raised.value.status, raised.value.code) == (500, "template_error")


def test_the_template_of_a_model_is_limited_too() -> None:
    prompt = tokenizer_prompt({"chat_template": LOOPS[0]})
    with pytest.raises(BridgeError, match="more than 200000 iterations"):
        prompt.render({"messages": MESSAGES})


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for m in messages %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/2 2/2 "),
        ("{% for m in messages if m.role == 'user' %}{{ loop.length }}{% endfor %}", "1"),
        ("{% for m in messages recursive %}{{ m if m is string else loop(['a']) }}{% endfor %}", "aa"),
        ("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
         "user"),
        ("{% macro f(m) %}<{{ m.role }}>{% endmacro %}{{ f(messages[0]) }}", "<user>"),
        ("{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}x{% endcall %}", "<x>"),
        ("{% set a, b = 1, 2 %}{{ a ~ b }}{{ [a, b] | join('-') }}", "121-2"),
        ("{{ messages[1:][0].role }} {{ 'a' in ['a'] }} {{ messages[0].role == 'user' }}",
         "assistant True True"),
        ("{{ messages | map(attribute='role') | join(', ') | upper }}", "USER, ASSISTANT"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{{ '%s-%05d' % ('a', 7) }} {{ '%s' | format('b') }} {{ '{:>4}'.format('c') }}", "a-00007 b    c"),
        ("{{ 2 ** 10 + 3 * 4 % 5 }} {{ 'ab' * 2 }} {{ 1.5 * 2 }}", "1026 abab 3.0"),
        ("{{ 'a b'.split(' ') | last }} {{ 'x'.ljust(3) }}| {{ 'aa'.replace('a', 'b') }}", "b x  | bb"),
        ("{{ {'a': [1, 2]} | tojson(indent=1) | replace('\n', '') }}", '{ "a": [  1,  2 ]}'),
        ("{% filter upper %}{{ messages[0].content | indent(2) }}{% endfilter %}", "HI"),
        ("{% set n = namespace(n=0) %}{% for m in messages %}{% set n.n = n.n + 1 %}{% endfor %}{{ n.n }}",
         "2"),
        ("{% for a in ['b', 'a'] | sort | batch(1) %}{{ a[0] }}{% endfor %}", "ab"),
    ],
)  # fmt: skip
def test_limits_do_not_change_what_a_template_writes(source: str, text: str) -> None:
    assert template_prompt(source).render({"messages": MESSAGES}) == text


def test_a_long_chat_is_within_the_limits() -> None:
    messages: list[dict[str, Any]] = [
        {"role": ("user", "assistant")[number % 2], "content": "x" * 3_000} for number in range(10_000)
    ]
    source = """
        {%- for m in messages -%}
            {%- if m.content is string -%}{%- set text = m.content | trim -%}{%- endif -%}
            {%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('roles') }}{%- endif -%}
            {{- '<' + m.role + '>' + text + '\n' -}}
        {%- endfor -%}
    """
    assert len(template_prompt(source).render({"messages": messages})) > 30_000_000
    tools = [{"name": f"f{number}", "parameters": {"a": list(range(100))}} for number in range(1_000)]
    assert template_prompt("{{ tools | tojson }}").render({"tools": tools}) == json.dumps(tools)
