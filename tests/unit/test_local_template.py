"""The function host reads the project's template as the cloud does, and refuses what the cloud would not take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.localcloud import common
from infra.localcloud.host.template import TemplateError, load

FUNCTIONS = Path(__file__).parents[1] / "contract" / "host_functions"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0 30 1 1 * *", "30 1 1 * *", r"cronExpression: '30 1 1 \* \*' cannot be used; it has 5 fields"),
        ("{prefix: orders/, suffix: .json}", "{prefix: orders/}", "filter.key: suffix is missing"),
        ("runtime: python3.12", "runtime: python3.11", "'python3.11' cannot be used; write one of python3.12"),
        ("handler: fail.handler", "handler: absent.handler", "there is no .*absent.py"),
        ("handler: fail.handler", "handler: pkg.fail.handler", "write file.function"),
        ("authType: anonymous", "authType: jwt", "only anonymous"),
        ("timeout: 1\n", "timeout: 0\n", "whole number from 1 to 86400"),
        ("cpu: 0.5", "cpu: 0.1", "1 to 4 GB"),
        ("      diskSize: 512\n", "", "cpu and diskSize go together"),
        ("memorySize: 128", "memorySize: 130", "steps of 64"),
        ("GREETING: ${env('HOST_TEST_GREETING', 'hello')}", "GREETING: 1", "a text belongs here"),
        ("${env('HOST_TEST_GREETING', 'hello')}", "${env('HOST_TEST_GREETING')}", "HOST_TEST_GREETING is not set"),
        ("region: ${vars.region}", "region: ${vars.land}", "vars.land} is not under vars"),
        ("functions/record", "functions/nobody", "its failures go to nobody"),
        ("functions/record", "functions/fail", "to itself"),
        ("functionName: broken", "functionName: fail", "fail is used twice"),
        ("oss:ObjectCreated:PutObject", "ObjectCreated:PutObject", "write an event such as"),
        ("      timeout: 1\n", "      timeout: 1\n      timeout: 2\n", "'timeout' stands here a second time"),
        ("name: host-test", "name: [", "is not YAML"),
        ("triggerName: monthly", "triggerName: daily", "names another trigger"),
    ],
)
def test_a_template_the_cloud_would_not_take_is_refused_with_the_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = (FUNCTIONS / "s.yaml").read_text()
    assert old in text
    path = tmp_path / "s.yaml"
    path.write_text(text.replace(old, new))

    with pytest.raises(TemplateError, match=said):
        load(path, FUNCTIONS, common.load_keys(tmp_path), {})


def bucket_template(tmp_path: Path, filters: list[tuple[str, str]]) -> Path:
    """A template whose one function has these prefixes and suffixes as triggers of one bucket."""
    triggers = [
        {
            "triggerName": f"t{number}", "triggerType": "oss", "sourceArn": "acs:oss:cn-hangzhou:1:work",
            "triggerConfig": {
                "events": ["oss:ObjectCreated:*"], "filter": {"key": {"prefix": prefix, "suffix": suffix}},
            },
        }
        for number, (prefix, suffix) in enumerate(filters)
    ]  # fmt: skip
    props = {
        "functionName": "probe", "region": "r", "runtime": "python3.12", "code": ".", "handler": "probe.handler",
        "triggers": triggers,
    }  # fmt: skip
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps({"resources": {"probe": {"component": "fc3", "props": props}}}))
    return path


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (("raw/", "_complete.json"), ("raw/", ".json"), True),
        (("raw/", ".json"), ("raw/a/", ""), True),
        (("", ""), ("raw/", ".json"), True),
        (("raw/", "a.json"), ("raw/", "b.json"), False),
        (("raw/", ".json"), ("seals/", ".json"), False),
    ],
)
def test_triggers_that_one_key_could_match_are_refused(
    tmp_path: Path, one: tuple[str, str], other: tuple[str, str], overlap: bool
) -> None:
    path = bucket_template(tmp_path, [one, other])
    if overlap:
        with pytest.raises(TemplateError, match="overlaps"):
            load(path, FUNCTIONS, common.load_keys(tmp_path), {})
    else:
        assert len(load(path, FUNCTIONS, common.load_keys(tmp_path), {}).oss_triggers) == 2


def test_the_eleventh_trigger_of_a_bucket_is_refused(tmp_path: Path) -> None:
    path = bucket_template(tmp_path, [(f"{number:02}/", "") for number in range(11)])
    with pytest.raises(TemplateError, match="11 triggers, and OSS takes 10"):
        load(path, FUNCTIONS, common.load_keys(tmp_path), {})


@pytest.mark.parametrize(
    ("written", "name"), [("books-pull", "books-pull"), ("acs:ram::1000000000000001:role/books-pull", "books-pull")]
)
def test_a_role_is_known_by_its_name_however_it_is_written(tmp_path: Path, written: str, name: str) -> None:
    path = bucket_template(tmp_path, [])
    path.write_text(path.read_text().replace('"handler"', f'"role": "{written}", "handler"'))

    assert load(path, FUNCTIONS, common.load_keys(tmp_path), {}).functions["probe"].role == name
