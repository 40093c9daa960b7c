"""Operations on the tags of an object.

They make no events and leave the last modification as it is. Whether a retention policy forbids them is not
documented; here it does not, because the content stays as it was.
"""

from __future__ import annotations

from aiohttp import web

from infra.localcloud.oss import tags
from infra.localcloud.oss.call import Call
from infra.localcloud.oss.documents import document, element, parse_tagging


async def put(call: Call) -> web.Response:
    """PutObjectTagging: replaces all tags."""
    wanted = tags.checked(parse_tagging(await call.document()))
    call.endpoint.store.set_tags(call.bucket(), call.key, wanted)
    return web.Response()


async def get(call: Call) -> web.Response:
    """GetObjectTagging: an empty set where there are none."""
    found = tags.of(call.endpoint.store.find(call.bucket(), call.key).headers)
    shown = [element("Tag", [element("Key", key), element("Value", value)]) for key, value in found.items()]
    return web.Response(body=document("Tagging", [element("TagSet", shown)]), content_type="application/xml")


async def delete(call: Call) -> web.Response:
    """DeleteObjectTagging."""
    call.endpoint.store.set_tags(call.bucket(), call.key, {})
    return web.Response(status=204)
