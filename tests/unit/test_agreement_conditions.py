"""Conditions: what each must be to answer on every line, and which of a list can never be the first that is true."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.agreement.conditions import KINDS, LINES_MAX, problems, reached
from shared.agreement.matching import FIELDS, LENGTH_MAX, compile_condition, first_met
from shared.agreement.words import condition_words


@pytest.mark.parametrize(
    "when",
    [
        "`true`",
        "product_code == 'ecs'",
        "contains(['ecs', 'eci'], product_code) && subscription_type != 'Subscription'",
        "!(tags.team == 'blue') || tags.\"cost centre\" == 'x'",
        "region != `null` && starts_with(region, 'cn-')",
        "tags != `null` && contains(keys(tags), 'team')",
        "!region",
        "not_null(zone, region) == 'cn-hangzhou'",
        "customer == account",
        "length(tags.team || '') == `0`",
        " || ".join(f"product_code == 'p{n}'" for n in range(60)),
    ],
)
def test_a_sound_condition_has_no_problems(when: str) -> None:
    assert problems(when) == []


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("", "is no JMESPath"),
        ("product_code = 'ecs'", "is no JMESPath at its character 14: Unknown token '='"),
        ("region == 'a' &&", "at its character 17"),
        ("'abc", "at its character 1: Unclosed ' delimiter"),
        ("product == 'ecs'", "reads product, which no line has; perhaps product_code"),
        ("product_code == ecs", "a text stands in single quotes"),
        ("pretax == '5'", "amounts and dates are not visible"),
        ("region != null", "write `null`, in backticks"),
        ("contain(['a'], region)", "calls contain(), which JMESPath does not have; perhaps contains"),
        ("product_code == 'x' && contains(region)", "calls contains() with 1 values; it takes 2"),
        ("product_code == `5`", "compares text with a number, which is always false"),
        ("product_code != `5`", "compares text with a number, which is always true"),
        ("tags == 'blue'", "name one tag, as in tags.team == 'blue'"),
        ("region == ['a', 'b']", "compares text with a list"),
        ("region < 'b'", "only numbers have an order"),
        ("region.name == 'a'", "region is text; only tags has names of its own"),
        ("tags.team.name == 'a'", "a tag is text; write tags.team"),
        ("!tags.team", "write !(tags.name)"),
        ("tags.team[0] == 'a'", "uses an index or a selection"),
        ("tags.* == 'a'", "uses value projection"),
        ("tags | keys(@) == 'a'", "uses pipe"),
        ("map(&a, [tags]) == 'a'", "uses expref"),
        ("region[?a] == 'a'", "uses filter projection"),
        ("starts_with(region, 'cn')", "on a line with region absent; compare with =="),
        ("region && starts_with(region, 'cn')", "gives null, neither true nor false, on a line with region absent"),
        ("product_code == 'x' && contains(region, 'a')", "on a line with product_code 'x' and region absent"),
        ("contains(tags.team, 'a')", "on a line with tags.team absent"),
        ("region || product_code == 'x'", "gives text, neither true nor false, on a line with"),
        ("`5`", "gives a number, neither true nor false,"),
        ("kind == 'refund'", "is true of no line"),
        ("region == 'a' && region == 'b'", "is true of no line"),
        ("`false`", "is true of no line"),
        ("!" * 1_900 + "kind", "is nested too deeply"),
        ("!(" * 101 + "kind" + ")" * 101, "is nested more than 100 deep"),
        ("kind == '" + "x" * LENGTH_MAX + "'", "longer than 2000 characters"),
    ],
)
def test_each_problem_of_a_condition_is_named(when: str, problem: str) -> None:
    found = problems(when)

    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    ("whens", "never"),
    [
        (["`true`", "kind == 'usage'"], {1: {0}}),
        (["kind == 'usage'", "kind != 'usage'", "region == 'x'"], {2: {0, 1}}),
        (["product_code == 'a'", "region == 'b'", "product_code == 'a' && region == 'b'"], {2: {0}}),
        (["contains(['a', 'b'], region)", "region == 'a'", "region == 'c'"], {1: {0}}),
        (["region == 'a'", "region != 'a'", "!region"], {2: {1}}),
        (["tags.team == 'a'", "tags.team != 'a'", "tags.team == 'b'"], {2: {1}}),
        ([f"kind == '{kind}'" for kind in ("usage", "subscription", "credit", "adjustment")], {}),
        (["region == 'a'", "region == 'b'", "`true`"], {}),
        (["region == 'a' && zone == 'b'", "region == 'a'", "zone == 'b'"], {}),
    ],
)
def test_a_condition_that_is_never_the_first_is_found(whens: list[str], never: dict[int, set[int]]) -> None:
    found = reached(whens)

    assert found.doubts == {}
    assert found.problems.keys() == never.keys()
    for number, takers in never.items():
        assert all(f"{{{taker}}}" in found.problems[number] for taker in takers)


def test_where_functions_look_into_texts_it_is_a_doubt() -> None:
    found = reached(["region == 'cn'", "region == 'cn' && starts_with(zone || '', 'cn')"])

    assert found.problems == {}
    assert "not on all there can be" in found.doubts[1]


def test_a_text_that_begins_and_ends_as_asked_is_thought_of() -> None:
    ecs, big = "starts_with(instance_spec || '', 'ecs.')", "ends_with(instance_spec || '', '.large')"

    assert reached([f"{ecs} && {big}", ecs, big]).doubts == {}


def test_where_there_are_too_many_lines_some_are_tried_and_what_is_not_met_is_a_doubt() -> None:
    many = [
        f"product_code == 'p{n}' && region == 'r{n % 7}' && zone == 'z{n % 5}' && tags.team == 't{n % 9}'"
        for n in range(60)
    ]
    assert LINES_MAX < 62 * 9 * 7 * 11
    found = reached([*many, "product_code == 'p3'", f"{many[4]} && customer == 'acme'"])

    assert found.problems == {}
    assert list(found.doubts) == [61]
    assert "{4}" in found.doubts[61]


def test_the_trial_of_a_large_document_takes_seconds_not_minutes() -> None:
    texts = ", ".join(f"'{n:06d}'" for n in range(180))
    whens = [
        f"contains([{texts}], {field}) && {field} != '{n}'" for n in range(3) for field in FIELDS if field != "tags"
    ]
    begun = time.process_time()
    reached(whens)

    assert time.process_time() - begun < 30


TESTS = st.one_of(
    st.builds("{} == '{}'".format, st.sampled_from(["region", "zone", "tags.team"]), st.sampled_from("ab")),
    st.builds("contains(['{}', 'c'], {})".format, st.sampled_from("ab"), st.sampled_from(["region", "zone"])),
    st.sampled_from(["region != `null`", "!(tags.team)", "!region", "kind == 'usage'", "kind != 'credit'", "`true`"]),
)
CONDITIONS = st.recursive(
    TESTS,
    lambda parts: st.one_of(
        st.builds("({} && {})".format, parts, parts),
        st.builds("({} || {})".format, parts, parts),
        st.builds("!({})".format, parts),
    ),
    max_leaves=4,
)


@settings(max_examples=40, deadline=None)
@given(whens=st.lists(CONDITIONS, min_size=2, max_size=5))
def test_what_is_surely_never_the_first_is_so_on_every_line(whens: list[str]) -> None:
    found = reached(whens)
    conditions = list(enumerate(map(compile_condition, whens)))
    texts = ("a", "b", "c", "d", None)
    lines = (
        {"region": region, "zone": zone, "tags": tags, "kind": kind}
        for region in texts
        for zone in texts
        for tags in ({"team": "a"}, {"team": "b"}, {"team": "c"}, {"cost": "a"}, None)
        for kind in KINDS
    )
    first = {met[0] for met in (first_met(conditions, line) for line in lines) if met is not None}

    assert found.doubts == {}
    assert first == set(range(len(whens))) - found.problems.keys()


def test_what_is_found_to_be_first_is_what_the_engine_takes_first() -> None:
    whens = ["region == 'a'", "region != 'a'", "region == 'b'"]
    conditions = list(enumerate(map(compile_condition, whens)))

    assert [first_met(conditions, {"region": value}) for value in ("a", "b", None)] == [
        (0, False),
        (1, False),
        (1, False),
    ]
    assert list(reached(whens).problems) == [2]


TOKENS = [
    "kind",
    "region",
    "tags",
    ".",
    "'a'",
    "`1`",
    "`null`",
    "==",
    "!=",
    "<",
    "&&",
    "||",
    "!",
    "(",
    ")",
    "[",
    "]",
    "{",
]
TOKENS += [
    "}",
    ",",
    ":",
    "*",
    "@",
    "&",
    "|",
    "?",
    '"x"',
    "contains(",
    "starts_with(",
    "sort_by(",
    "length(",
    "`{",
    "0",
    "\\",
]


@settings(max_examples=300, deadline=None)
@given(when=st.one_of(st.lists(st.sampled_from(TOKENS), max_size=12).map(" ".join), st.text(max_size=20)))
def test_whatever_is_written_is_sound_or_named(when: str) -> None:
    found = problems(when)

    assert all(found)
    if not found:
        assert reached([when]).problems == {}
        assert condition_words(when)


@pytest.mark.parametrize(
    "when",
    [
        "product_code == 'ecs' && region == 'a'",
        "(product_code == 'ecs' && region == 'a') && kind == 'usage'",
        "product_code == 'ecs' && abs(region)",  # bad where it comes to that
        "abs(region) && product_code == 'ecs'",
        "product_code == 'ecs' || region == 'a'",
        "!(product_code == 'ecs' && region == 'a')",
    ],
)
def test_what_is_told_by_its_first_equality_is_what_the_whole_condition_says(when: str) -> None:
    condition = compile_condition(when)
    whole = replace(condition, begins=None)
    for code, region in product(("ecs", "oss", None), ("a", "b", None)):
        line = {"product_code": code, "region": region, "kind": "usage"}
        assert condition.outcome(line) is whole.outcome(line), line
