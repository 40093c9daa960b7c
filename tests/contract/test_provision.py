"""Provisioning against the genuine services: a plan, made once, and nothing that is there is bent into shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import oss2
import pytest

from infra.localcloud import common
from infra.provision import permissions
from infra.provision.plan import RECORDS_DAYS, TABLES, UnfitError, actions, functions, plan, survey, variables
from infra.provision.roles import policy_of, trust
from shared.bill import rows
from shared.cloud.admin import Index, TableAdmin
from shared.cloud.credentials import from_environment
from shared.cloud.ram import RoleAdmin
from shared.cloud.tablestore import TablestoreRows
from shared.errors import SettingError
from shared.ports import ServiceError


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    keys = common.load_keys(tmp_path)
    starting = {name: common.begin(name, tmp_path) for name in ("oss", "tablestore", "ram", "sls")}
    services = {name: one.ready() for name, one in starting.items()}
    address = {name: f"127.0.0.1:{one.port}" for name, one in services.items()}
    yield {
        "CLEARBOOK_ACCOUNT": keys.account_id,
        "CLEARBOOK_REGION": keys.region,
        "CLEARBOOK_BUCKET_PREFIX": "books",
        "CLEARBOOK_OSS_ENDPOINT": f"http://{address['oss']}",
        "CLEARBOOK_TABLESTORE_ENDPOINT": f"http://{address['tablestore']}",
        "CLEARBOOK_TABLESTORE_INSTANCE": keys.instance,
        "CLEARBOOK_RAM_ENDPOINT": address["ram"],
        "CLEARBOOK_RAM_PROTOCOL": "HTTP",
        "CLEARBOOK_SLS_ENDPOINT": f"http://{address['sls']}",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.access_key_secret,
    }
    for one in services.values():
        one.stop()


def ram(cloud: Mapping[str, str]) -> RoleAdmin:
    return RoleAdmin(cloud["CLEARBOOK_RAM_ENDPOINT"], "HTTP", from_environment(cloud))


def tables(cloud: Mapping[str, str]) -> TableAdmin:
    endpoint, instance = cloud["CLEARBOOK_TABLESTORE_ENDPOINT"], cloud["CLEARBOOK_TABLESTORE_INSTANCE"]
    return TableAdmin(endpoint, cloud["CLEARBOOK_REGION"], instance, from_environment(cloud))


def row_store(cloud: Mapping[str, str]) -> TablestoreRows:
    endpoint, instance = cloud["CLEARBOOK_TABLESTORE_ENDPOINT"], cloud["CLEARBOOK_TABLESTORE_INSTANCE"]
    return TablestoreRows(endpoint, cloud["CLEARBOOK_REGION"], instance, lambda: from_environment(cloud))


def states(cloud: Mapping[str, str]) -> Counter[str]:
    return Counter(str(one.state) for one in survey(cloud))


def bucket(cloud: Mapping[str, str], name: str) -> oss2.Bucket:
    auth = oss2.AuthV4(cloud["ALIBABA_CLOUD_ACCESS_KEY_ID"], cloud["ALIBABA_CLOUD_ACCESS_KEY_SECRET"])
    return oss2.Bucket(auth, cloud["CLEARBOOK_OSS_ENDPOINT"], name, region=cloud["CLEARBOOK_REGION"])


def apply(cloud: Mapping[str, str]) -> None:
    for action in plan(cloud):
        action.make()


def test_what_is_missing_is_made_once_and_then_everything_is_there(cloud: Mapping[str, str]) -> None:
    planned = [action.what for action in plan(cloud)]
    assert [what for what in planned if what.startswith("bucket")] == [
        f"bucket books-{name}" for name in ("inbox", "work", "records", "reports")
    ]
    assert len([what for what in planned if what.startswith("table")]) == len(TABLES)
    assert len([what for what in planned if what.startswith("role")]) == len(functions(cloud).functions) + 1
    apply(cloud)

    assert plan(cloud) == []
    worm = bucket(cloud, "books-records").get_bucket_worm()
    assert (worm.state, int(worm.retention_period_days)) == ("Locked", RECORDS_DAYS)


def test_a_table_is_made_with_its_indexes(cloud: Mapping[str, str]) -> None:
    apply(cloud)
    found = tables(cloud).describe("bill_lines")

    assert found.indexes == rows.INDEXES
    assert found.defined == dict.fromkeys(("account_key", "date", "instance_key", "line_id"), "STRING")
    assert tables(cloud).describe("chain").indexes == {}


def test_an_index_that_is_missing_is_made_with_the_rows_that_are_there(cloud: Mapping[str, str]) -> None:
    lacking = [Index(name, columns) for name, columns in rows.INDEXES.items() if name != rows.BY_ACCOUNT]
    keep = Index("keep", ("account_key", "date"))  # as many columns are predefined as are needed
    tables(cloud).create("bill_lines", TABLES["bill_lines"], [*lacking, keep])
    store = row_store(cloud)
    store.put("bill_lines", (("line", "a" * 32),), {"account_key": "k", "date": "2025-06-01"})

    planned = [action for action in plan(cloud) if "bill_lines" in action.what]
    assert [action.what for action in planned] == [
        "index bill_lines_by_account (account_key, date) of table bill_lines"
    ]
    planned[0].make()
    assert [action.what for action in plan(cloud) if "bill_lines" in action.what] == []
    ends = (
        (("account_key", "k"), ("date", "2025"), ("line", "0")),
        (("account_key", "k"), ("date", "2026"), ("line", "0")),
    )
    assert [row["line"] for row in store.range("bill_lines_by_account", *ends)] == ["a" * 32]


def test_a_table_whose_indexes_cannot_be_as_they_must_is_refused(cloud: Mapping[str, str]) -> None:
    tables(cloud).create("bill_lines", TABLES["bill_lines"])
    with pytest.raises(UnfitError, match="has not predefined account_key, date, instance_key, line_id; predefine them"):
        plan(cloud)
    tables(cloud)._client.delete_table("bill_lines")

    wrong = [Index(name, columns) for name, columns in rows.INDEXES.items() if name != rows.BY_ID]
    tables(cloud).create("bill_lines", TABLES["bill_lines"], [*wrong, Index(rows.BY_ID, ("line_id", "date"))])
    with pytest.raises(UnfitError, match=r"has an index bill_lines_by_id of \('line_id', 'date'\)"):
        plan(cloud)


def test_a_retention_that_was_begun_and_not_locked_is_locked(cloud: Mapping[str, str]) -> None:
    bucket(cloud, "books-records").create_bucket()
    bucket(cloud, "books-records").init_bucket_worm(RECORDS_DAYS)
    apply(cloud)

    assert bucket(cloud, "books-records").get_bucket_worm().state == "Locked"


def test_a_retention_that_is_too_short_is_refused(cloud: Mapping[str, str]) -> None:
    bucket(cloud, "books-records").create_bucket()
    bucket(cloud, "books-records").init_bucket_worm(1)

    with pytest.raises(UnfitError, match="keeps its objects for 1 days, 3650 are needed"):
        plan(cloud)


def test_a_run_that_was_killed_after_every_third_step_goes_on_from_there(cloud: Mapping[str, str]) -> None:
    steps = 0
    while made := plan(cloud):
        for one in made[:3]:
            one.make()
            steps += 1
        # Everything is looked at anew, as after a kill.

    assert steps == sum(states(cloud).values())
    assert set(states(cloud)) == {"fine"}


def test_each_function_gets_its_own_policy_and_oss_may_wake_functions(cloud: Mapping[str, str]) -> None:
    apply(cloud)
    settle = functions(cloud).functions["settle"]

    assert ram(cloud).trust(settle.role) == trust("fc.aliyuncs.com")
    assert ram(cloud).policy(settle.role) == policy_of(settle, variables(cloud))
    [role] = {one.role for one in functions(cloud).oss_triggers}
    assert ram(cloud).trust(role) == trust("oss.aliyuncs.com")
    woken = {one.resource.rpartition("/")[2] for one in permissions.granted(ram(cloud).policy(role) or {})}
    assert woken == {one.function for one in functions(cloud).oss_triggers}


def test_a_policy_that_drifted_is_shown_left_and_put_right_when_asked(cloud: Mapping[str, str]) -> None:
    apply(cloud)
    role = functions(cloud).functions["settle"].role
    wanted = ram(cloud).policy(role)
    assert wanted is not None
    more = {"Effect": "Allow", "Action": "oss:DeleteObject", "Resource": "acs:oss:*:*:books-records/*"}
    drifted = {**wanted, "Statement": [*wanted["Statement"][1:], more]}
    ram(cloud).replace_policy(role, drifted)

    with pytest.raises(UnfitError) as refused:
        plan(cloud)
    lacking = wanted["Statement"][0]
    assert f"policy {role} lacks {lacking['Action'][0]} on {lacking['Resource'][0]}" in str(refused.value)
    assert "also grants oss:DeleteObject on acs:oss:*:*:books-records/*" in str(refused.value)
    assert "--replace-policies" in str(refused.value)
    assert ram(cloud).policy(role) == drifted
    for action in actions(survey(cloud), replace_policies=True):
        action.make()
    assert ram(cloud).policy(role) == wanted
    assert plan(cloud) == []


def test_the_same_policy_written_differently_is_no_drift(cloud: Mapping[str, str]) -> None:
    apply(cloud)
    role = functions(cloud).functions["settle"].role
    wanted = ram(cloud).policy(role)
    assert wanted is not None
    single = [
        {**one, "Action": action, "Resource": resource}
        for one in reversed(wanted["Statement"])
        for action in one["Action"]
        for resource in one["Resource"]
    ]
    ram(cloud).replace_policy(role, {"Version": "1", "Statement": single})

    assert plan(cloud) == []


def test_a_role_that_trusts_another_service_or_has_more_policies_is_refused(cloud: Mapping[str, str]) -> None:
    role = functions(cloud).functions["sweep"].role
    ram(cloud).create_role(role, trust("ecs.aliyuncs.com"), "")
    everything = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "oss:*", "Resource": "*"}]}
    ram(cloud).create_policy("everything", everything, "")
    ram(cloud).attach(role, "everything")

    with pytest.raises(UnfitError) as refused:
        plan(cloud)
    assert f"role {role} does not trust fc.aliyuncs.com alone; correct its trust policy" in str(refused.value)
    assert f"role {role} has also the policy everything (Custom); detach it" in str(refused.value)


def test_a_table_with_another_key_is_refused_and_nothing_is_made(cloud: Mapping[str, str]) -> None:
    tables(cloud).create("chain", [("stream", "STRING")])

    with pytest.raises(UnfitError, match=r"table chain \(stream, seq\) has the key \[\('stream', 'STRING'\)\], exp"):
        plan(cloud)
    assert tables(cloud).names() == {"chain"}


def test_a_bucket_that_keeps_versions_is_refused(cloud: Mapping[str, str]) -> None:
    made = bucket(cloud, "books-work")
    made.create_bucket()
    made.put_bucket_versioning(oss2.models.BucketVersioningConfig(oss2.BUCKET_VERSIONING_SUSPEND))

    with pytest.raises(UnfitError, match="bucket books-work keeps versions, so names are not made once; switch"):
        plan(cloud)


def test_a_lifecycle_that_somebody_else_set_is_refused(cloud: Mapping[str, str]) -> None:
    made = bucket(cloud, "books-work")
    made.create_bucket()
    expire = oss2.models.LifecycleExpiration(days=3)
    rule = oss2.models.LifecycleRule("theirs", "", status="Enabled", expiration=expire)
    made.put_bucket_lifecycle(oss2.models.BucketLifecycle([rule]))

    with pytest.raises(UnfitError, match=r"books-work.* rule 'theirs' .* after 3 days; remove its lifecycle rules"):
        plan(cloud)


def test_a_rule_of_our_name_that_deletes_what_is_older_than_a_date_is_foreign(cloud: Mapping[str, str]) -> None:
    apply(cloud)
    before = date(2026, 1, 1)
    expire = oss2.models.LifecycleExpiration(created_before_date=before)
    uploads = oss2.models.AbortMultipartUpload(days=7)
    for name in ("books-work", "books-records", "books-inbox", "books-reports"):
        rule = oss2.models.LifecycleRule("clearbook", "", expiration=expire, abort_multipart_upload=uploads)
        bucket(cloud, name).put_bucket_lifecycle(oss2.models.BucketLifecycle([rule]))

    with pytest.raises(UnfitError) as refused:
        plan(cloud)
    said = "has others: rule 'clearbook' (Enabled, every key) deletes objects made before 2026-01-01"
    assert str(refused.value).count(said) == 4


def test_beside_our_rule_every_other_one_is_named(cloud: Mapping[str, str]) -> None:
    apply(cloud)
    uploads = oss2.models.AbortMultipartUpload(days=7)
    ours = oss2.models.LifecycleRule("clearbook", "", abort_multipart_upload=uploads)
    theirs = [
        oss2.models.LifecycleRule(f"theirs-{prefix}", prefix, expiration=oss2.models.LifecycleExpiration(days=days))
        for prefix, days in (("seals/", 1), ("stuck/", 2))
    ]
    bucket(cloud, "books-work").put_bucket_lifecycle(oss2.models.BucketLifecycle([ours, *theirs]))

    with pytest.raises(UnfitError) as refused:
        plan(cloud)
    assert "rule 'theirs-seals/' (Enabled, keys that begin with 'seals/') deletes objects after 1 days" in str(
        refused.value
    )
    assert "rule 'theirs-stuck/' (Enabled, keys that begin with 'stuck/') deletes objects after 2 days" in str(
        refused.value
    )
    assert "rule 'clearbook'" not in str(refused.value)


def test_another_account_than_the_keys_own_is_refused_before_anything_is_made(cloud: Mapping[str, str]) -> None:
    with pytest.raises(SettingError) as refused:
        plan({**cloud, "CLEARBOOK_ACCOUNT": "1999999999999999"})
    assert "CLEARBOOK_ACCOUNT is '1999999999999999', and the access key belongs to the account" in str(refused.value)
    assert repr(cloud["CLEARBOOK_ACCOUNT"]) in str(refused.value)
    assert tables(cloud).names() == frozenset()

    apply(cloud)
    with pytest.raises(SettingError, match="the access key belongs to the account"):
        actions(survey({**cloud, "CLEARBOOK_ACCOUNT": "1999999999999999"}), replace_policies=True)


@pytest.mark.parametrize("account", [True, False])
def test_a_wrong_region_is_among_what_to_check(cloud: Mapping[str, str], account: bool) -> None:
    wrong = {**cloud, "CLEARBOOK_REGION": "cn-beijing"} | ({} if account else {"CLEARBOOK_ACCOUNT": ""})
    if not account:
        wrong |= {"CLEARBOOK_RAM_ENDPOINT": "", "CLEARBOOK_SLS_ENDPOINT": ""}
    with pytest.raises(ServiceError, match=r"; check the access key,.*(CLEARBOOK_REGION|the region)"):
        plan(wrong)
