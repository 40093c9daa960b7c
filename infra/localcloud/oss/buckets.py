"""Operations on buckets: their life, their lifecycle rules, their retention policy."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from aiohttp import web

from infra.localcloud.oss import errors
from infra.localcloud.oss.call import Call
from infra.localcloud.oss.documents import (
    document,
    element,
    integer,
    lifecycle,
    parse,
    parse_lifecycle,
    parse_versioning,
    parse_worm_days,
    timestamp,
)
from infra.localcloud.oss.retention import Worm, WormState
from infra.localcloud.oss.state import Bucket

BUCKETS_PAGE = 100


async def list_buckets(call: Call) -> web.Response:
    """ListBuckets (GetService)."""
    prefix, marker = call.params.get("prefix", ""), call.params.get("marker", "")
    limit = integer(call.params.get("max-keys") or str(BUCKETS_PAGE), "max-keys", 1, 1000)
    found = [b for b in call.endpoint.store.buckets() if b.name.startswith(prefix) and b.name > marker]
    shown, is_cut = found[:limit], len(found) > limit
    parts = [element("Owner", _owner(call)), element("Buckets", [element("Bucket", _summary(call, b)) for b in shown])]
    parts += [element("Prefix", prefix), element("Marker", marker), element("MaxKeys", str(limit))]
    parts += [element("IsTruncated", "true" if is_cut else "false")]
    parts += [element("NextMarker", shown[-1].name)] if is_cut else []
    return _xml("ListAllMyBucketsResult", parts)


async def create(call: Call) -> web.Response:
    """PutBucket: private and of the Standard class."""
    acl = call.headers.get("x-oss-acl", "private")
    if acl != "private":
        raise errors.not_implemented(f"the bucket ACL {acl}")
    body = await call.document()
    if body.strip():
        for child in parse(body, "CreateBucketConfiguration"):
            if (child.tag, child.text) not in {("StorageClass", "Standard"), ("DataRedundancyType", "LRS")}:
                raise errors.not_implemented(f"{child.tag} {child.text} of a bucket")
    call.endpoint.store.create_bucket(call.bucket_name, call.endpoint.clock.now())
    return web.Response(headers={"Location": f"/{call.bucket_name}"})


async def head(call: Call) -> web.Response:
    """HeadBucket."""
    call.bucket()
    return web.Response(headers={"x-oss-bucket-region": call.endpoint.keys.region})


async def info(call: Call) -> web.Response:
    """GetBucketInfo."""
    bucket = call.bucket()
    parts = [
        *_summary(call, bucket),
        element("Owner", _owner(call)),
        element("AccessControlList", [element("Grant", "private")]),
        element("DataRedundancyType", "LRS"),
        element("AccessMonitor", "Disabled"),
        element("TransferAcceleration", "Disabled"),
        element("CrossRegionReplication", "Disabled"),
    ]
    parts += [] if bucket.versioning is None else [element("Versioning", bucket.versioning)]
    return _xml("BucketInfo", [element("Bucket", parts)])


async def location(call: Call) -> web.Response:
    """GetBucketLocation."""
    call.bucket()
    return web.Response(
        body=document("LocationConstraint", f"oss-{call.endpoint.keys.region}"), content_type="application/xml"
    )


async def acl(call: Call) -> web.Response:
    """GetBucketAcl: every bucket is private."""
    call.bucket()
    grants = element("AccessControlList", [element("Grant", "private")])
    return _xml("AccessControlPolicy", [element("Owner", _owner(call)), grants])


async def versioning(call: Call) -> web.Response:
    """GetBucketVersioning: OSS says "never enabled" by leaving the status out."""
    status = call.bucket().versioning
    return _xml("VersioningConfiguration", [] if status is None else [element("Status", status)])


async def put_versioning(call: Call) -> web.Response:
    """PutBucketVersioning: remembered and reported; what then needs versions of objects is refused."""
    status = parse_versioning(await call.document())
    now = call.endpoint.clock.now()
    bucket = call.bucket(now)
    if bucket.worm is not None and bucket.worm.is_active(now):
        # developer-reference/initiatebucketworm now lets both be, user-guide/0012-00000006 still does not.
        raise errors.not_implemented("versioning of a bucket that has a retention policy")
    call.endpoint.store.set_versioning(bucket, status)
    return web.Response()


async def delete(call: Call) -> web.Response:
    """DeleteBucket."""
    call.endpoint.store.delete_bucket(call.bucket())
    return web.Response(status=204)


async def put_lifecycle(call: Call) -> web.Response:
    """PutBucketLifecycle."""
    rules = parse_lifecycle(await call.document())
    call.endpoint.store.set_rules(call.bucket(), rules)
    return web.Response()


async def get_lifecycle(call: Call) -> web.Response:
    """GetBucketLifecycle."""
    rules = call.bucket().rules
    if not rules:
        raise errors.no_such_lifecycle(call.bucket_name)
    return web.Response(body=lifecycle(rules), content_type="application/xml")


async def delete_lifecycle(call: Call) -> web.Response:
    """DeleteBucketLifecycle."""
    call.endpoint.store.set_rules(call.bucket(), [])
    return web.Response(status=204)


async def initiate_worm(call: Call) -> web.Response:
    """InitiateBucketWorm: from now on objects are protected; unlocked, the policy is void after a day."""
    days = parse_worm_days(await call.document(), "InitiateWormConfiguration")
    now = call.endpoint.clock.now()
    bucket = call.bucket(now)
    if bucket.versioning is not None:
        # developer-reference/initiatebucketworm now lets both be, user-guide/0027-00000003 still does not.
        raise errors.not_implemented("a retention policy of a bucket that has versioning")
    if bucket.worm is not None and bucket.worm.state is WormState.LOCKED:
        raise errors.worm_locked(bucket.name)
    if bucket.worm is not None and bucket.worm.is_active(now):
        # What OSS answers here is not documented.
        raise errors.invalid_worm("The WORM Configuration already exists; abort or complete it first.")
    worm = Worm(secrets.token_hex(16).upper(), WormState.IN_PROGRESS, days, now)
    call.endpoint.store.set_worm(bucket, worm)
    return web.Response(headers={"x-oss-worm-id": worm.id})


async def abort_worm(call: Call) -> web.Response:
    """AbortBucketWorm."""
    bucket, worm = _worm(call)
    if worm.state is WormState.LOCKED:
        raise errors.worm_locked(bucket.name)
    call.endpoint.store.set_worm(bucket, None)
    return web.Response(status=204)


async def complete_worm(call: Call) -> web.Response:
    """CompleteBucketWorm: lock the policy, for good."""
    bucket, worm = _worm(call, call.params["wormId"])
    if worm.state is WormState.LOCKED:
        raise errors.worm_locked(bucket.name)
    call.endpoint.store.set_worm(bucket, replace(worm, state=WormState.LOCKED))
    return web.Response()


async def extend_worm(call: Call) -> web.Response:
    """ExtendBucketWorm: a locked policy can only become longer."""
    days = parse_worm_days(await call.document(), "ExtendWormConfiguration")
    bucket, worm = _worm(call, call.params["wormId"])
    if worm.state is not WormState.LOCKED:
        raise errors.invalid_worm("Only a locked WORM Configuration can be extended.")
    if days <= worm.days:
        raise errors.invalid_worm(f"The retention period must be longer than {worm.days} days.")
    call.endpoint.store.set_worm(bucket, replace(worm, days=days))
    return web.Response()


async def get_worm(call: Call) -> web.Response:
    """GetBucketWorm."""
    _, worm = _worm(call)
    parts = [
        element("WormId", worm.id),
        element("State", worm.state.value),
        element("RetentionPeriodInDays", str(worm.days)),
        element("CreationDate", timestamp(worm.created)),
    ]
    return _xml("WormConfiguration", parts)


def _worm(call: Call, worm_id: str | None = None) -> tuple[Bucket, Worm]:
    now: datetime = call.endpoint.clock.now()
    bucket = call.bucket(now)
    worm = bucket.worm
    if worm is None or not worm.is_active(now) or worm_id not in {None, worm.id}:
        raise errors.no_such_worm(bucket.name)
    return bucket, worm


def _owner(call: Call) -> list[str]:
    account_id = call.endpoint.keys.account_id
    return [element("ID", account_id), element("DisplayName", account_id)]


def _summary(call: Call, bucket: Bucket) -> list[str]:
    region, host = call.endpoint.keys.region, call.request.host
    return [
        element("Name", bucket.name),
        element("CreationDate", timestamp(bucket.created)),
        element("Location", f"oss-{region}"),
        element("Region", region),
        element("StorageClass", "Standard"),
        element("ExtranetEndpoint", host),
        element("IntranetEndpoint", host),
    ]


def _xml(name: str, parts: Iterable[str]) -> web.Response:
    return web.Response(body=document(name, parts), content_type="application/xml")
