"""Who is named first: people of a real deployment are named, never invented."""

from __future__ import annotations

import pytest

from infra.clearbook.people import name_first, people
from shared.errors import BadInputError


def test_each_is_named_with_a_role() -> None:
    assert people(["ann=Ann Lee"], ["bob=Bob Ray", "cy=Cy Ho"]) == {
        "ann": {"name": "Ann Lee", "role": "preparer"},
        "bob": {"name": "Bob Ray", "role": "approver"},
        "cy": {"name": "Cy Ho", "role": "approver"},
    }


@pytest.mark.parametrize(
    ("preparers", "approvers", "said"),
    [
        (["ann"], ["bob=Bob"], "--preparer: is 'ann'; write ID=NAME"),
        (["-ann=Ann"], ["bob=Bob"], "--preparer: is '-ann=Ann'; write ID=NAME"),
        (["ann= "], ["bob=Bob"], "--preparer: is 'ann= '; write ID=NAME"),
        (["ann=Ann"], ["ann=Ann"], "--approver: names ann again; nobody has both roles"),
        (["ann=Ann"], [], "init: names only one role; name at least one --preparer and one --approver"),
        ([], ["bob=Bob"], "init: names only one role"),
    ],
)
def test_what_cannot_be_right_is_refused(preparers: list[str], approvers: list[str], said: str) -> None:
    with pytest.raises(BadInputError) as caught:
        people(preparers, approvers)
    assert said in str(caught.value)


def test_nobody_is_invented_for_a_real_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARBOOK_OSS_ENDPOINT", "https://oss-cn-hangzhou.aliyuncs.com")
    with pytest.raises(BadInputError, match="names nobody, and this is no local cloud"):
        name_first([], [], "owner", None)
