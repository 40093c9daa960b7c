"""The local OSS over HTTP: authenticate, find the operation, run it, and turn refusals into answers."""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from infra.localcloud.common import BODY_MAX
from infra.localcloud.faults.plan import Fault
from infra.localcloud.faults.service import Misbehaviour
from infra.localcloud.oss import (
    access,
    appending,
    buckets,
    copying,
    errors,
    listing,
    misbehave,
    objects,
    sign,
    tagging,
    uploads,
)
from infra.localcloud.oss.call import Call, Endpoint, check_bucket_name, check_key, new_request_id, read
from infra.localcloud.oss.documents import document, element
from infra.localcloud.oss.errors import OssError

LOG = logging.getLogger(__name__)
SIGNING: Final = frozenset(
    {
        "x-oss-signature-version",
        "x-oss-credential",
        "x-oss-date",
        "x-oss-expires",
        "x-oss-additional-headers",
        "x-oss-signature",
        sign.TOKEN_HEADER,
    }
)
RESPONSE_PARAMS: Final = frozenset(f"response-{header}" for header in objects.OVERRIDABLE)

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: its API name, the parameters (and the header) that select it and those it may also take."""

    name: str
    handler: Handler
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    header: str = ""


def _operation(name: str, handler: Handler, required: str = "", optional: str = "", header: str = "") -> Operation:
    return Operation(name, handler, frozenset(required.split()), frozenset(optional.split()), header)


SERVICE: Final = {"GET": [_operation("ListBuckets", buckets.list_buckets, optional="prefix marker max-keys")]}
BUCKET: Final = {
    "PUT": [
        _operation("PutBucket", buckets.create),
        _operation("PutBucketLifecycle", buckets.put_lifecycle, "lifecycle"),
        _operation("PutBucketVersioning", buckets.put_versioning, "versioning"),
    ],
    "GET": [
        _operation("ListObjects", listing.list_v1, optional="prefix marker delimiter max-keys encoding-type"),
        _operation(
            "ListObjectsV2",
            listing.list_v2,
            "list-type",
            "prefix start-after continuation-token delimiter max-keys encoding-type fetch-owner",
        ),
        _operation(
            "ListMultipartUploads",
            listing.list_uploads,
            "uploads",
            "prefix delimiter key-marker upload-id-marker max-uploads encoding-type",
        ),
        _operation("GetBucketInfo", buckets.info, "bucketInfo"),
        _operation("GetBucketLocation", buckets.location, "location"),
        _operation("GetBucketAcl", buckets.acl, "acl"),
        _operation("GetBucketVersioning", buckets.versioning, "versioning"),
        _operation("GetBucketLifecycle", buckets.get_lifecycle, "lifecycle"),
        _operation("GetBucketWorm", buckets.get_worm, "worm"),
    ],
    "HEAD": [_operation("HeadBucket", buckets.head)],
    "DELETE": [
        _operation("DeleteBucket", buckets.delete),
        _operation("DeleteBucketLifecycle", buckets.delete_lifecycle, "lifecycle"),
        _operation("AbortBucketWorm", buckets.abort_worm, "worm"),
    ],
    "POST": [
        _operation("DeleteMultipleObjects", objects.delete_many, "delete", "encoding-type"),
        _operation("InitiateBucketWorm", buckets.initiate_worm, "worm"),
        _operation("CompleteBucketWorm", buckets.complete_worm, "wormId"),
        _operation("ExtendBucketWorm", buckets.extend_worm, "wormId wormExtend"),
    ],
}
OBJECT: Final = {
    "PUT": [
        _operation("PutObject", objects.put),
        _operation("CopyObject", copying.copy, header=copying.SOURCE),
        _operation("UploadPart", uploads.put_part, "partNumber uploadId"),
        _operation("UploadPartCopy", copying.copy_part, "partNumber uploadId", header=copying.SOURCE),
        _operation("PutObjectTagging", tagging.put, "tagging"),
    ],
    "GET": [
        Operation("GetObject", objects.get, optional=RESPONSE_PARAMS),
        _operation("GetObjectTagging", tagging.get, "tagging"),
        _operation("ListParts", uploads.list_parts, "uploadId", "part-number-marker max-parts encoding-type"),
    ],
    "HEAD": [
        Operation("HeadObject", objects.head, optional=RESPONSE_PARAMS),
        _operation("GetObjectMeta", objects.head, "objectMeta"),
    ],
    "DELETE": [
        _operation("DeleteObject", objects.delete),
        _operation("DeleteObjectTagging", tagging.delete, "tagging"),
        _operation("AbortMultipartUpload", uploads.abort, "uploadId"),
    ],
    "POST": [
        _operation("AppendObject", appending.append, "append", "position"),
        _operation("InitiateMultipartUpload", uploads.initiate, "uploads", "encoding-type"),
        _operation("CompleteMultipartUpload", uploads.complete, "uploadId", "encoding-type"),
    ],
}
# Operations whose name does not follow from method and parameter.
NAMES: Final = {
    "policy": "a bucket policy",
    "versions": "ListObjectVersions",
    "versionId": "a version of an object",
    "x-oss-process": "processing of an object",
}


def application(endpoint: Endpoint, faults: Misbehaviour | None = None) -> web.Application:
    """The service as an application; routing is its own, because keys may look like any path."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if faults is None:
            return await _answer(endpoint, request)
        name, subject = _asked(endpoint, request)
        return await faults.around(
            request,
            name,
            subject,
            lambda: _answer(endpoint, request),
            lambda fault: _answer(endpoint, request, fault),
        )

    app = web.Application(client_max_size=BODY_MAX)
    if faults is not None:
        faults.watch(app)
    app.router.add_route("*", "/{target:.*}", answer)
    return app


async def _answer(endpoint: Endpoint, request: web.Request, fault: Fault | None = None) -> web.StreamResponse:
    request_id = new_request_id()
    try:
        call = read(endpoint, request, request_id)
        caller = sign.verify(call.signed(), endpoint.keys, datetime.now(UTC))
        if fault is not None:
            raise misbehave.refusal(fault)
        operation = _find(call)
        access.check(call, caller, operation.name)
        response = await operation.handler(call)
    except OssError as refusal:
        response = _refusal(refusal, request, request_id)
    except ConnectionError:
        raise
    except Exception:
        LOG.exception("%s %s failed", request.method, request.raw_path.partition("?")[0])
        text = "We encountered an internal error. Please try again."
        response = _refusal(OssError(500, "InternalError", text), request, request_id)
    if not response.prepared:
        response.headers["x-oss-request-id"] = request_id
        response.headers["Server"] = "AliyunOSS"
    return response


def _asked(endpoint: Endpoint, request: web.Request) -> tuple[str, str]:
    """The operation a request names and what it is about, whether or not it is any good."""
    try:
        call = read(endpoint, request, "")
        return _find(call).name, misbehave.subject(call)
    except OssError:
        return request.method, request.path


def _find(call: Call) -> Operation:
    """The operation a call asks for, once bucket and key are well-formed."""
    level, operations = "Service", SERVICE
    if call.bucket_name:
        check_bucket_name(call.bucket_name)
        level, operations = "Bucket", BUCKET
    if call.key:
        check_key(call.key)
        level, operations = "Object", OBJECT
    names = frozenset(name for name, _ in call.query) - SIGNING
    candidates = [
        operation
        for operation in operations.get(call.request.method, [])
        if operation.required <= names <= operation.required | operation.optional
        and (not operation.header or operation.header in call.headers)
    ]
    if not candidates:
        raise errors.not_implemented(_name(call.request.method, level, names))
    return max(candidates, key=lambda operation: (len(operation.required), operation.header))


def _name(method: str, level: str, names: frozenset[str]) -> str:
    for name in sorted(names):
        if name in NAMES:
            return NAMES[name]
    unknown = "".join(name[:1].upper() + name[1:] for name in sorted(names - RESPONSE_PARAMS)[:1])
    return f"{method.capitalize()}{level}{unknown}"


def _refusal(refusal: OssError, request: web.Request, request_id: str) -> web.Response:
    fields: dict[str, str | Sequence[str]] = {
        "Code": refusal.code,
        "Message": refusal.message,
        "RequestId": request_id,
        "HostId": request.headers.get("Host", ""),
        **refusal.fields,
    }
    if refusal.ec:
        fields["EC"] = refusal.ec
        fields["RecommendDoc"] = f"https://api.aliyun.com/troubleshoot?q={refusal.ec}"
    body = document("Error", [element(name, value) for name, value in fields.items()])
    headers = {**refusal.headers, **({"x-oss-ec": refusal.ec} if refusal.ec else {})}
    if refusal.status == 304:
        return web.Response(status=304, headers=headers)
    if request.method == "HEAD":
        # A HEAD has no body to say why; OSS puts the document into this header and the SDKs read it there.
        headers["x-oss-err"] = base64.b64encode(body).decode()
        return web.Response(status=refusal.status, headers=headers)
    return web.Response(status=refusal.status, body=body, content_type="application/xml", headers=headers)
