"""The refusals of OSS: status, code, text and, where a document gives it, the EC code.

Codes and texts are those of help/en/oss/support/http-status-code-400, -403, -404, -409, -412 and -416; EC codes
are those of the pages named after them (for instance 0042-00000214). A refusal whose EC code we have not seen
in print carries none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class OssError(Exception):
    """An answer that is a refusal; `fields` are the extra elements its XML carries, `headers` its extra headers.

    A field is text, or the elements inside it already written.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        ec: str = "",
        fields: Mapping[str, str | Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.ec = status, code, message, ec
        self.fields, self.headers = dict(fields or {}), dict(headers or {})


def not_implemented(operation: str) -> OssError:
    """What exists at OSS but not here; never an empty success."""
    return OssError(501, "NotImplemented", f"{operation} is not implemented here")


def invalid_argument(name: str, value: str, message: str, *, ec: str = "") -> OssError:
    """A parameter or header with a value OSS does not take."""
    return OssError(400, "InvalidArgument", message, ec=ec, fields={"ArgumentName": name, "ArgumentValue": value})


def malformed_xml(detail: str) -> OssError:
    """A request body that is not the document this operation expects."""
    text = "The XML you provided was not well-formed or did not validate against our published schema"
    return OssError(400, "MalformedXML", text, fields={"ErrorDetail": detail})


def invalid_bucket_name(name: str) -> OssError:
    """A bucket name outside the naming rules."""
    return OssError(400, "InvalidBucketName", "The specified bucket is not valid.", fields={"BucketName": name})


def invalid_object_name(message: str, key: str) -> OssError:
    """An object key outside the naming rules."""
    return OssError(400, "InvalidObjectName", message, fields={"ObjectName": key})


def invalid_digest() -> OssError:
    """A Content-MD5 that is no MD5, or not that of the body: OSS has one code for both."""
    return OssError(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")


def entity_too_large(limit: int) -> OssError:
    """A body above what one request may carry."""
    text = "Your proposed upload exceeds the maximum allowed size."
    return OssError(400, "EntityTooLarge", text, fields={"MaxSizeAllowed": str(limit)})


def entity_too_small(number: int, etag: str, size: int, minimum: int) -> OssError:
    """A part other than the last below the smallest size of a part."""
    text = "Your proposed upload smaller than the minimum allowed size."
    fields = {"ProposedSize": str(size), "MinSizeAllowed": str(minimum), "PartNumber": str(number), "ETag": etag}
    return OssError(400, "EntityTooSmall", text, fields=fields)


def invalid_part(upload_id: str, number: int, etag: str) -> OssError:
    """A part that is listed for completion but was not uploaded so."""
    text = (
        "One or more of the specified parts could not be found or the specified entity tag might not have matched "
        "the part's entity tag."
    )
    fields = {"UploadId": upload_id, "PartNumber": str(number), "ETag": etag}
    return OssError(400, "InvalidPart", text, fields=fields)


def invalid_part_order() -> OssError:
    """Parts listed for completion out of order or twice."""
    return OssError(400, "InvalidPartOrder", "The list of parts was not in ascending order.")


def invalid_tag(message: str, value: str, *, ec: str) -> OssError:
    """A tag OSS does not take; its EC is in print, its code is not."""
    return OssError(400, "InvalidTag", message, ec=ec, fields={"ArgumentName": "Tag", "ArgumentValue": value})


def access_denied(message: str, *, ec: str = "", fields: Mapping[str, str | Sequence[str]] | None = None) -> OssError:
    """A caller who may not do this."""
    return OssError(403, "AccessDenied", message, ec=ec, fields=fields)


def no_such_bucket(bucket: str) -> OssError:
    """A bucket that is not there."""
    text = "The specified bucket does not exist."
    return OssError(404, "NoSuchBucket", text, ec="0015-00000101", fields={"BucketName": bucket})


def no_such_key(key: str) -> OssError:
    """An object that is not there."""
    return OssError(404, "NoSuchKey", "The specified key does not exist.", ec="0026-00000001", fields={"Key": key})


def no_such_upload(upload_id: str) -> OssError:
    """A multipart upload that never was, is complete or was aborted."""
    text = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or"
    return OssError(404, "NoSuchUpload", f"{text} completed.", fields={"UploadId": upload_id})


def no_such_lifecycle(bucket: str) -> OssError:
    """A bucket without lifecycle rules."""
    return OssError(404, "NoSuchLifecycle", "No Row found in Lifecycle Table.", fields={"BucketName": bucket})


def no_such_worm(bucket: str) -> OssError:
    """A bucket without that retention policy."""
    text = "The WORM Configuration does not exist."
    return OssError(404, "NoSuchWORMConfiguration", text, fields={"BucketName": bucket})


def worm_locked(bucket: str) -> OssError:
    """A retention policy that is locked and so only ever gets longer."""
    text = "The WORM Configuration is locked."
    return OssError(403, "WORMConfigurationLocked", text, fields={"BucketName": bucket})


def invalid_worm(message: str) -> OssError:
    """A retention policy that cannot become what was asked."""
    return OssError(400, "InvalidWORMConfiguration", message)


def bucket_not_empty(bucket: str) -> OssError:
    """A bucket that still holds objects or parts (http-status-code-409)."""
    text = "The bucket you tried to delete is not empty."
    return OssError(409, "BucketNotEmpty", text, fields={"BucketName": bucket})


def file_already_exists(key: str, *, completing: bool) -> OssError:
    """`x-oss-forbid-overwrite: true` met an object of that name."""
    text = "The object you specified already exists and can not be overwritten."
    return OssError(409, "FileAlreadyExists", text, ec="0042-00000214" if completing else "", fields={"Key": key})


def object_not_appendable(key: str) -> OssError:
    """An append to an object that was not begun by one (user-guide/0026-00000017)."""
    return OssError(409, "ObjectNotAppendable", "The object is not appendable", ec="0026-00000017", fields={"Key": key})


def position_not_equal_to_length(key: str, length: int) -> OssError:
    """An append elsewhere than at the end; the header says where that is (user-guide/0026-00000016)."""
    text = "Position is not equal to file length"
    headers = {"x-oss-next-append-position": str(length)}
    return OssError(409, "PositionNotEqualToLength", text, ec="0026-00000016", fields={"Key": key}, headers=headers)


def file_immutable(key: str) -> OssError:
    """A retention policy protects the object."""
    return OssError(409, "FileImmutable", "The object you specified is immutable.", fields={"Key": key})


def precondition_failed(condition: str) -> OssError:
    """An If-Match or If-Unmodified-Since that does not hold."""
    text = "At least one of the pre-conditions you specified did not hold."
    return OssError(412, "PreconditionFailed", text, fields={"Condition": condition})


def not_modified() -> OssError:
    """304: the caller already has this object. It has no body."""
    return OssError(304, "NotModified", "Not Modified")


def invalid_range(requested: str, size: int) -> OssError:
    """A range outside the object, asked for with `x-oss-range-behavior: standard`."""
    fields = {"ActualObjectSize": str(size), "RangeRequested": requested}
    return OssError(416, "InvalidRange", "The requested range cannot be satisfied.", fields=fields)
