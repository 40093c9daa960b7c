"""Operations on multipart uploads."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from infra.localcloud.oss.call import Call
from infra.localcloud.oss.documents import document, element, integer, parse_complete, timestamp
from infra.localcloud.oss.multipart import PARTS_MAX, Part
from infra.localcloud.oss.objects import forbids_overwrite, kept_headers, received


async def initiate(call: Call) -> web.Response:
    """InitiateMultipartUpload."""
    headers = kept_headers(call.headers)
    cause = call.cause()
    bucket = call.bucket(cause.at)
    if forbids_overwrite(call.headers):
        call.endpoint.store.refuse_existing(bucket, call.key)
    upload = call.endpoint.uploads.start(bucket, call.key, headers, cause)
    return _answer(call, "InitiateMultipartUploadResult", [element("UploadId", upload)])


async def put_part(call: Call) -> web.Response:
    """UploadPart."""
    number = part_number(call)
    upload = call.params["uploadId"]
    call.endpoint.uploads.headers(call.bucket(), call.key, upload)
    content = await received(call, always_file=True)
    cause = call.cause()
    call.endpoint.uploads.put_part(call.bucket(cause.at), call.key, upload, number, content, cause)
    etag, crc64 = content.md5.hex().upper(), str(content.crc64)
    return web.Response(headers={"ETag": f'"{etag}"', "x-oss-hash-crc64ecma": crc64})


async def complete(call: Call) -> web.Response:
    """CompleteMultipartUpload."""
    forbid = forbids_overwrite(call.headers)
    body = await call.document()
    listed = None if call.headers.get("x-oss-complete-all") == "yes" else parse_complete(body)
    cause = call.cause()
    bucket, upload = call.bucket(cause.at), call.params["uploadId"]
    stored = await call.endpoint.uploads.complete(bucket, call.key, upload, listed, cause, forbid=forbid)
    location = f"http://{call.request.host}/{quote(f'{call.bucket_name}/{call.key}')}"
    parts = [element("Location", location), element("ETag", f'"{stored.etag}"')]
    response = _answer(call, "CompleteMultipartUploadResult", parts)
    response.headers["ETag"] = f'"{stored.etag}"'
    response.headers["x-oss-hash-crc64ecma"] = stored.crc64
    return response


async def list_parts(call: Call) -> web.Response:
    """ListParts."""
    upload, marker = call.params["uploadId"], _number(call, "part-number-marker", 0, 0)
    limit = _number(call, "max-parts", 1000, 1, 1000)
    parts = call.endpoint.uploads.parts(call.bucket(), call.key, upload)
    found = [part for part in parts if part.number > marker]
    shown, is_cut = found[:limit], len(found) > limit
    answer = [
        element("UploadId", upload),
        element("StorageClass", "Standard"),
        element("PartNumberMarker", str(marker)),
        element("NextPartNumberMarker", str(shown[-1].number if shown else marker)),
        element("MaxParts", str(limit)),
        element("IsTruncated", "true" if is_cut else "false"),
    ]
    return _answer(call, "ListPartsResult", answer + [element("Part", _part(part)) for part in shown])


async def abort(call: Call) -> web.Response:
    """AbortMultipartUpload."""
    cause = call.cause()
    call.endpoint.uploads.abort(call.bucket(cause.at), call.key, call.params["uploadId"], cause)
    return web.Response(status=204)


def part_number(call: Call) -> int:
    """The number a part is to have, 1 to 10,000."""
    return _number(call, "partNumber", 0, 1)


def _number(call: Call, name: str, default: int, least: int, most: int = PARTS_MAX) -> int:
    return integer(call.params.get(name) or str(default), name, least, most)


def _part(part: Part) -> list[str]:
    return [
        element("PartNumber", str(part.number)),
        element("LastModified", timestamp(part.modified)),
        element("ETag", f'"{part.etag}"'),
        element("Size", str(part.size)),
    ]


def _answer(call: Call, name: str, parts: list[str]) -> web.Response:
    encoding = call.params.get("encoding-type") == "url"
    key = quote(call.key, safe="") if encoding else call.key
    front = [element("EncodingType", "url")] if encoding else []
    front += [element("Bucket", call.bucket_name), element("Key", key)]
    return web.Response(body=document(name, front + parts), content_type="application/xml")
