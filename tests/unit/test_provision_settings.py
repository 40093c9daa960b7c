"""The settings of a deployment: what no service could use is refused by name, before any is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import oss2
import pytest

from infra.provision import settings
from infra.provision.plan import survey
from shared.cloud import admin
from shared.cloud.admin import BucketAdmin
from shared.cloud.credentials import AccessKey
from shared.errors import SettingError
from shared.ports import ServiceError

GOOD = {
    "CLEARBOOK_ACCOUNT": "1000000000000001",
    "CLEARBOOK_REGION": "cn-hangzhou",
    "CLEARBOOK_BUCKET_PREFIX": "b" * 55,
    "CLEARBOOK_OSS_ENDPOINT": "oss-cn-hangzhou.aliyuncs.com",
    "CLEARBOOK_TABLESTORE_ENDPOINT": "https://books.cn-hangzhou.ots.aliyuncs.com",
    "CLEARBOOK_TABLESTORE_INSTANCE": "books",
    "CLEARBOOK_SLS_ENDPOINT": "https://cn-hangzhou.log.aliyuncs.com",
    "CLEARBOOK_RAM_ENDPOINT": "ram.aliyuncs.com",
    "CLEARBOOK_RAM_PROTOCOL": "HTTPS",
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "id",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
}


def test_settings_of_the_real_cloud_and_of_a_local_one_pass() -> None:
    settings.check(GOOD)
    local = {"OSS": "http://127.0.0.1:80", "TABLESTORE": "http://127.0.0.1:65535", "RAM": "localhost:8080"}
    settings.check({**GOOD, **{f"CLEARBOOK_{name}_ENDPOINT": value for name, value in local.items()}})
    settings.check({**GOOD, "CLEARBOOK_SLS_ENDPOINT": ""})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CLEARBOOK_BUCKET_PREFIX", "Bad_Prefix!", "1 to 55 lower-case letters, digits and hyphens"),
        ("CLEARBOOK_BUCKET_PREFIX", "-x", "no hyphen first"),
        ("CLEARBOOK_BUCKET_PREFIX", "b" * 56, "1 to 55"),
        ("CLEARBOOK_BUCKET_PREFIX", "books\n", "1 to 55"),
        ("CLEARBOOK_OSS_ENDPOINT", "garbage:::", "a host name, perhaps a port"),
        ("CLEARBOOK_OSS_ENDPOINT", "http://host:70000", "a host name, perhaps a port"),
        ("CLEARBOOK_OSS_ENDPOINT", "ftp://host", "http:// or https://"),
        ("CLEARBOOK_TABLESTORE_ENDPOINT", "foo", "http:// or https://"),
        ("CLEARBOOK_TABLESTORE_ENDPOINT", "https://", "a host name"),
        ("CLEARBOOK_SLS_ENDPOINT", "https://a b", "a host name"),
        ("CLEARBOOK_RAM_ENDPOINT", "https://ram.aliyuncs.com", "without http:// or https://"),
        ("CLEARBOOK_RAM_PROTOCOL", "FTP", "HTTPS, or HTTP"),
        ("CLEARBOOK_REGION", "hangzhou!", "such as cn-hangzhou"),
        ("CLEARBOOK_ACCOUNT", "\u0661\u0662", "digits alone"),
    ],
)
def test_a_value_that_no_service_could_use_is_refused_by_name(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingError) as refused:
        survey({**GOOD, name: value})
    assert str(refused.value).startswith(f"setting {name} is {value!r}; give ")
    assert expected in str(refused.value)


def test_a_bucket_name_that_the_sdk_refuses_is_told_as_every_failure_is() -> None:
    with pytest.raises(ServiceError, match="CLEARBOOK_BUCKET_PREFIX"):
        BucketAdmin("http://127.0.0.1:1", "cn-hangzhou", "Bad_Name", AccessKey("id", "secret", ""))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"storage_transitions": [oss2.models.StorageTransition(days=1, storage_class="Archive")]},
            "moves objects to Archive",
        ),
        ({"atime_base": 0, "status": "Disabled"}, "(Disabled, every key)"),
        ({"tagging": "k=v"}, "objects with the tag k=v"),
        ({"filter": oss2.models.LifecycleFilter(object_size_greater_than=5)}, "with a filter"),
        (
            {"noncurrent_version_expiration": oss2.models.NoncurrentVersionExpiration(1)},
            "deletes earlier versions",
        ),
        ({"expiration": oss2.models.LifecycleExpiration(date="2026-01-01")}, "every day from 2026-01-01"),
    ],
)
def test_a_rule_of_our_name_that_does_more_or_less_is_foreign(
    more: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if more.get("tagging"):
        tags = oss2.models.TaggingRule()
        tags.add("k", "v")
        more = {"tagging": oss2.models.Tagging(tags)}
    uploads = oss2.models.AbortMultipartUpload(days=7)
    rule = oss2.models.LifecycleRule("clearbook", "", abort_multipart_upload=uploads, **more)
    monkeypatch.setattr(oss2.Bucket, "get_bucket_lifecycle", lambda _: SimpleNamespace(rules=[rule]))
    found = BucketAdmin("http://127.0.0.1:1", "cn-hangzhou", "books-work", AccessKey("id", "secret", "")).lifecycle()
    assert found is not None
    assert "rule 'clearbook'" in found.other
    assert said in str(found)
    assert found != admin.Lifecycle(None, 7)
