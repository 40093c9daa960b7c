"""The local RAM and Log Service by the product's own adapters, over the clients they ship with; and enforcement."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import oss2
import pytest
import tablestore as ots

from infra.localcloud import common, identity
from infra.provision.roles import trust
from shared.cloud.credentials import AccessKey
from shared.cloud.ram import VERSIONS_MAX, Attached, RoleAdmin
from shared.cloud.sls import LogAdmin
from shared.ports import ServiceError

FC = trust("fc.aliyuncs.com")


@dataclass(frozen=True, slots=True)
class Cloud:
    """OSS, Tablestore, RAM and Log Service over one home."""

    home: Path
    keys: common.Keys
    services: dict[str, common.Service]

    @property
    def main(self) -> AccessKey:
        return AccessKey(self.keys.access_key_id, self.keys.access_key_secret)

    @property
    def ram(self) -> RoleAdmin:
        return RoleAdmin(f"127.0.0.1:{self.services['ram'].port}", "HTTP", self.main)

    def logs(self, project: str, key: AccessKey | None = None) -> LogAdmin:
        endpoint = f"http://127.0.0.1:{self.services['sls'].port}"
        return LogAdmin(endpoint, self.keys.region, project, key or self.main)

    def as_role(self, role: str) -> AccessKey:
        issued = identity.issue(self.keys, role, "reader", f"{role}-1", datetime.now(UTC))
        return AccessKey(issued.access_key_id, issued.access_key_secret, issued.security_token)

    def bucket(self, key: AccessKey) -> oss2.Bucket:
        auth: Any = oss2.AuthV4(key.id, key.secret)
        if key.token:
            auth = oss2.StsAuth(key.id, key.secret, key.token, auth_version="v4")
        endpoint = f"http://127.0.0.1:{self.services['oss'].port}"
        return oss2.Bucket(auth, endpoint, "books-work", region=self.keys.region)

    def rows(self, key: AccessKey) -> Any:
        return ots.OTSClient(
            f"http://127.0.0.1:{self.services['tablestore'].port}", key.id, key.secret, self.keys.instance,
            sts_token=key.token or None, region=self.keys.region, retry_policy=ots.NoRetryPolicy(),
        )  # fmt: skip

    def role(self, name: str, *statements: dict[str, Any]) -> AccessKey:
        """A role that may do what the statements say."""
        self.ram.create_role(name, FC, "")
        self.ram.create_policy(name, {"Version": "1", "Statement": list(statements)}, "")
        self.ram.attach(name, name)
        return self.as_role(name)


def allow(actions: str, resource: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions.split(), "Resource": [resource], **more}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("ram")
    (home / "record-calls").touch()
    keys = common.load_keys(home)
    starting = {name: common.begin(name, home) for name in ("oss", "tablestore", "ram", "sls")}
    made = Cloud(home, keys, {name: one.ready() for name, one in starting.items()})
    made.bucket(made.main).create_bucket()
    for key in ("a/1", "b/1"):
        made.bucket(made.main).put_object(key, b"{}")
    capacity = ots.ReservedThroughput(ots.CapacityUnit(0, 0))
    for table in ("chain", "cases"):
        made.rows(made.main).create_table(ots.TableMeta(table, [("id", "STRING")]), ots.TableOptions(), capacity)
    yield made
    for service in made.services.values():
        service.stop()


def test_a_role_is_what_it_was_created_as(cloud: Cloud) -> None:
    assert cloud.ram.trust("absent") is None
    cloud.ram.create_role("plain", FC, "reads")

    assert cloud.ram.trust("plain") == FC
    assert cloud.ram.attached("plain") == []
    with pytest.raises(ServiceError, match=r"RAM answers 409 EntityAlreadyExists\.Role"):
        cloud.ram.create_role("plain", FC, "again")


def test_a_policy_has_five_versions_of_which_one_is_in_force(cloud: Cloud) -> None:
    documents = [{"Version": "1", "Statement": [allow("oss:GetObject", f"acs:oss:*:1:b/{n}")]} for n in range(8)]
    assert cloud.ram.policy("versions") is None
    cloud.ram.create_policy("versions", documents[0], "")
    for one in documents[1:]:
        cloud.ram.replace_policy("versions", one)
        assert cloud.ram.policy("versions") == one

    query = {"PolicyName": "versions", "PolicyType": "Custom"}
    there = cloud.ram._call("ListPolicyVersions", query)["PolicyVersions"]["PolicyVersion"]
    assert [one["VersionId"] for one in there] == ["v8", "v7", "v6", "v5", "v4"]
    assert len(there) == VERSIONS_MAX
    with pytest.raises(ServiceError, match="LimitExceeded"):
        cloud.ram._call("CreatePolicyVersion", {**query, "PolicyDocument": json.dumps(documents[0])})
    with pytest.raises(ServiceError, match="DeleteConflict"):
        cloud.ram._call("DeletePolicyVersion", {**query, "VersionId": "v8"})


def test_a_policy_is_attached_once_and_can_be_taken_away(cloud: Cloud) -> None:
    cloud.role("once", allow("oss:GetObject", "acs:oss:*:1:b/*"))
    assert cloud.ram.attached("once") == [Attached("once", "Custom")]

    with pytest.raises(ServiceError, match=r"EntityAlreadyExists\.Role\.Policy"):
        cloud.ram.attach("once", "once")
    cloud.ram._call("DetachPolicyFromRole", {"RoleName": "once", "PolicyName": "once", "PolicyType": "Custom"})
    assert cloud.ram.attached("once") == []


def test_ram_refuses_documents_it_cannot_enforce_and_callers_it_does_not_know(cloud: Cloud) -> None:
    with pytest.raises(ServiceError, match="MalformedPolicyDocument"):
        cloud.ram.create_policy("bad", {"Version": "1", "Statement": []}, "")
    with pytest.raises(ServiceError, match="MalformedPolicyDocument"):
        cloud.ram.create_role("bad", {"Version": "1", "Statement": [{"Effect": "Allow"}]}, "")
    stranger = RoleAdmin(f"127.0.0.1:{cloud.services['ram'].port}", "HTTP", AccessKey(cloud.main.id, "guessed"))
    with pytest.raises(ServiceError, match="SignatureDoesNotMatch"):
        stranger.trust("plain")
    with pytest.raises(ServiceError, match="InvalidAccessKeyId"):
        RoleAdmin(f"127.0.0.1:{cloud.services['ram'].port}", "HTTP", cloud.as_role("plain")).trust("plain")


def test_a_logstore_is_made_with_its_retention_and_index(cloud: Cloud) -> None:
    logs = cloud.logs("books-logs")
    assert (logs.exists(), logs.retention_days("functions"), logs.is_indexed("functions")) == (False, None, False)
    logs.create()
    assert (logs.exists(), logs.retention_days("functions"), logs.is_indexed("functions")) == (True, None, False)
    logs.create_store("functions", 180)
    assert (logs.retention_days("functions"), logs.is_indexed("functions")) == (180, False)
    logs.index("functions", 180)
    assert logs.is_indexed("functions")

    with pytest.raises(ServiceError, match=r"ProjectAlreadyExist.*set CLEARBOOK_LOG_PROJECT to another"):
        logs.create()
    with pytest.raises(ServiceError, match="SignatureNotMatch"):
        cloud.logs("books-logs", AccessKey(cloud.main.id, "guessed")).exists()


def test_oss_lets_a_role_do_what_its_policy_says_and_nothing_else(cloud: Cloud) -> None:
    key = cloud.role(
        "reader",
        allow("oss:GetObject", "acs:oss:*:*:books-work/a/*"),
        allow("oss:ListObjects", "acs:oss:*:*:books-work", Condition={"StringLike": {"oss:Prefix": ["a/*"]}}),
    )
    bucket = cloud.bucket(key)

    assert bucket.get_object("a/1").read() == b"{}"
    assert bucket.object_exists("a/1")
    assert [one.key for one in bucket.list_objects_v2("a/").object_list] == ["a/1"]
    refusals: list[Callable[[], Any]] = [
        lambda: bucket.get_object("b/1"),
        lambda: bucket.head_object("b/1"),
        lambda: bucket.put_object("a/2", b""),
        lambda: bucket.init_multipart_upload("a/2"),
        lambda: bucket.delete_object("a/1"),
        lambda: bucket.list_objects_v2("b/"),
        lambda: bucket.list_objects_v2(),
        lambda: bucket.get_bucket_info(),
        lambda: bucket.copy_object("books-work", "a/1", "b/2"),
    ]
    for refused in refusals:
        with pytest.raises(oss2.exceptions.AccessDenied) as caught:
            refused()
        assert caught.value.status == 403
    with pytest.raises(oss2.exceptions.AccessDenied) as caught:
        bucket.put_object("a/2", b"")
    assert caught.value.message == "You have no right to access this object because of bucket acl."
    assert caught.value.details["EC"] == "0003-00000001"
    assert "<NoPermissionType>ImplicitDeny</NoPermissionType><AuthAction>oss:PutObject</AuthAction>" in str(
        caught.value.body
    )


def test_a_copy_needs_its_source_too(cloud: Cloud) -> None:
    bucket = cloud.bucket(
        cloud.role("copier", allow("oss:PutObject", "acs:oss:*:*:books-work/c/*"), allow(
            "oss:GetObject", "acs:oss:*:*:books-work/a/*"))
    )  # fmt: skip
    bucket.copy_object("books-work", "a/1", "c/1")

    with pytest.raises(oss2.exceptions.AccessDenied):
        bucket.copy_object("books-work", "b/1", "c/2")


def test_an_explicit_denial_says_so(cloud: Cloud) -> None:
    denial = {**allow("oss:GetObject", "acs:oss:*:*:books-work/b/*"), "Effect": "Deny"}
    bucket = cloud.bucket(cloud.role("denied", allow("oss:*", "acs:oss:*:*:*"), denial))

    assert bucket.get_object("a/1").read() == b"{}"
    with pytest.raises(oss2.exceptions.AccessDenied) as caught:
        bucket.get_object("b/1")
    assert (caught.value.message, caught.value.details["EC"]) == ("Access denied by bucket policy.", "0003-00000201")


def test_a_change_of_policy_is_in_force_at_the_next_call(cloud: Cloud) -> None:
    bucket = cloud.bucket(cloud.role("changing", allow("oss:GetObject", "acs:oss:*:*:books-work/a/*")))
    assert bucket.get_object("a/1").read() == b"{}"
    elsewhere = {"Version": "1", "Statement": [allow("oss:GetObject", "acs:oss:*:*:books-work/b/*")]}
    cloud.ram.replace_policy("changing", elsewhere)

    with pytest.raises(oss2.exceptions.AccessDenied):
        bucket.get_object("a/1")
    assert bucket.get_object("b/1").read() == b"{}"


def test_tablestore_asks_for_each_table_of_a_call(cloud: Cloud) -> None:
    instance = f"acs:ots:*:*:instance/{cloud.keys.instance}"
    key = cloud.role("rows", allow("ots:PutRow ots:BatchGetRow", f"{instance}/table/cases"))
    client = cloud.rows(key)
    client.put_row("cases", ots.Row([("id", "1")], [("n", 1)]))
    both = ots.BatchGetRowRequest()
    for table in ("cases", "chain"):
        both.add(ots.TableInBatchGetRowItem(table, [[("id", "1")]], max_version=1))

    refusals: list[Callable[[], Any]] = [
        lambda: client.put_row("chain", ots.Row([("id", "1")], [("n", 1)])),
        lambda: client.delete_row("cases", ots.Row([("id", "1")])),
        lambda: client.batch_get_row(both),
        lambda: client.list_table(),
    ]
    for refused in refusals:
        with pytest.raises(ots.OTSServiceError) as caught:
            refused()
        assert (caught.value.get_http_status(), caught.value.get_error_code()) == (403, "OTSNoPermissionAccess")


def test_each_distinct_call_of_a_role_is_recorded_once_and_none_of_the_account(cloud: Cloud) -> None:
    bucket = cloud.bucket(cloud.role("recorded", allow("oss:GetObject", "acs:oss:*:*:books-work/a/*")))
    for _ in range(3):
        bucket.get_object("a/1")
    with pytest.raises(oss2.exceptions.AccessDenied):
        bucket.list_objects_v2("b/")
    cloud.bucket(cloud.main).get_object("a/1")

    lines = [json.loads(line) for line in (cloud.home / "calls" / "oss.jsonl").read_text().splitlines()]
    there = f"acs:oss:oss-{cloud.keys.region}:{cloud.keys.account_id}:books-work"
    assert [one for one in lines if one["role"] == "recorded"] == [
        {"role": "recorded", "action": "oss:GetObject", "resource": f"{there}/a/1"},
        {"role": "recorded", "action": "oss:ListObjects", "resource": there, "prefix": "b/"},
    ]
    assert "" not in {one["role"] for one in lines}
