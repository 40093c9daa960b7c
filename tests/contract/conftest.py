"""What the tests of the local OSS are given: a service of their own, its clock, a fresh bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from infra.localcloud import common
from tests.contract.oss_cloud import JUNE, Cloud, running
from tests.contract.tablestore_cloud import any_client, client, ots, table, three  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("oss")) as started:
        yield started


@pytest.fixture
def clock(cloud: Cloud) -> Iterator[common.Clock]:
    cloud.clock.set(JUNE)
    yield cloud.clock
    cloud.clock.set(None)


@pytest.fixture
def bucket(cloud: Cloud, request: pytest.FixtureRequest) -> Any:
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    return cloud.new_bucket(f"b-{digest}")
