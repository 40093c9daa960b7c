"""The XML of OSS: request bodies parsed with care, answers written by hand."""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from infra.localcloud.oss import errors
from infra.localcloud.oss.multipart import PARTS_MAX, Listed
from infra.localcloud.oss.retention import DAYS_MAX, Due, Rule

BODY_MAX = 2 << 20  # developer-reference/deletemultipleobjects: the body is at most 2 MB
DELETE_KEYS_MAX = 1000
RULES_MAX = 1000
RULE_PARTS = {"ID", "Prefix", "Status", "Expiration", "AbortMultipartUpload"}


# Answers


def element(name: str, content: str | Iterable[str]) -> str:
    """One element: text is escaped, a sequence holds elements already written."""
    inner = html.escape(content, quote=False) if isinstance(content, str) else "".join(content)
    return f"<{name}>{inner}</{name}>"


def document(name: str, content: str | Iterable[str]) -> bytes:
    """A whole answer."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{element(name, content)}\n'.encode("utf-8", "replace")


def timestamp(instant: datetime) -> str:
    """A time as OSS writes it in XML."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def lifecycle(rules: Iterable[Rule]) -> bytes:
    """The answer of GetBucketLifecycle."""
    return document("LifecycleConfiguration", [element("Rule", _rule_parts(rule)) for rule in rules])


def _rule_parts(rule: Rule) -> Iterable[str]:
    yield element("ID", rule.id)
    yield element("Prefix", rule.prefix)
    yield element("Status", "Enabled" if rule.is_enabled else "Disabled")
    for name, due in (("Expiration", rule.expiration), ("AbortMultipartUpload", rule.abort_multipart)):
        if due is not None and due.before is not None:
            yield element(name, [element("CreatedBeforeDate", timestamp(due.before))])
        elif due is not None:
            yield element(name, [element("Days", str(due.days))])


# Requests


def parse(body: bytes, root: str) -> ET.Element:
    """The request body as XML with that root; refuses whatever could make parsing dangerous."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise errors.malformed_xml("the document is not UTF-8") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise errors.malformed_xml("a document type or entity declaration is not allowed")
    try:
        parsed = ET.fromstring(text)  # noqa: S314 - without declarations nothing can expand or be fetched
    except (ET.ParseError, ValueError) as exc:
        raise errors.malformed_xml(str(exc)) from None
    for node in parsed.iter():
        node.tag = node.tag.rpartition("}")[2]  # some clients declare a namespace, OSS does not mind
    if parsed.tag != root:
        raise errors.malformed_xml(f"the root is {parsed.tag}, expected {root}")
    return parsed


def parse_delete(body: bytes) -> tuple[list[str], bool]:
    """The keys to delete, and whether the answer shall be empty."""
    root = parse(body, "Delete")
    keys = []
    for node in root.findall("Object"):
        if node.find("VersionId") is not None:
            raise errors.not_implemented("deleting a version")
        keys.append(_text(node, "Key"))
    if not 1 <= len(keys) <= DELETE_KEYS_MAX:
        raise errors.malformed_xml(f"1 to {DELETE_KEYS_MAX} objects can be deleted at once, not {len(keys)}")
    return keys, root.findtext("Quiet", "false").strip() == "true"


def parse_complete(body: bytes) -> list[Listed]:
    """The parts to join, in the order given."""
    root = parse(body, "CompleteMultipartUpload")
    listed = []
    for node in root.findall("Part"):
        number = integer(_text(node, "PartNumber"), "PartNumber", 1, PARTS_MAX)
        listed.append(Listed(number, _text(node, "ETag").strip().strip('"').upper()))
    if not 1 <= len(listed) <= PARTS_MAX:
        raise errors.malformed_xml(f"1 to {PARTS_MAX} parts can be completed, not {len(listed)}")
    return listed


def parse_tagging(body: bytes) -> list[tuple[str, str]]:
    """The keys and values of a PutObjectTagging request, as they stand there."""
    found = parse(body, "Tagging").find("TagSet")
    if found is None:
        raise errors.malformed_xml("Tagging needs TagSet")
    return [(_text(node, "Key"), _text(node, "Value")) for node in found.findall("Tag")]


def parse_versioning(body: bytes) -> str:
    """The state that a bucket's versioning is to have."""
    status = _text(parse(body, "VersioningConfiguration"), "Status").strip()
    if status not in {"Enabled", "Suspended"}:
        raise errors.malformed_xml(f"Status is Enabled or Suspended, not {status}")
    return status


def parse_worm_days(body: bytes, root: str) -> int:
    """The retention period that a policy is to have."""
    return integer(_text(parse(body, root), "RetentionPeriodInDays"), "RetentionPeriodInDays", 1, DAYS_MAX)


def parse_lifecycle(body: bytes) -> list[Rule]:
    """The rules of a PutBucketLifecycle request."""
    root = parse(body, "LifecycleConfiguration")
    rules = [_rule(node, number) for number, node in enumerate(root.findall("Rule"), 1)]
    if not 1 <= len(rules) <= RULES_MAX:
        raise errors.malformed_xml(f"1 to {RULES_MAX} rules are allowed, not {len(rules)}")
    if len({rule.id for rule in rules}) != len(rules):
        raise errors.invalid_argument("ID", "", "Rule ID must be unique.")
    _refuse_overlap([rule.prefix for rule in rules if rule.abort_multipart is not None])
    return rules


def _rule(node: ET.Element, number: int) -> Rule:
    for child in node:
        if child.tag not in RULE_PARTS:
            raise errors.not_implemented(f"{child.tag} in a lifecycle rule")
    status = _text(node, "Status")
    if status not in {"Enabled", "Disabled"}:
        raise errors.malformed_xml(f"Status is Enabled or Disabled, not {status}")
    expiration, abort = _due(node.find("Expiration")), _due(node.find("AbortMultipartUpload"))
    if expiration is None and abort is None:
        # help/en/oss/support/0014-00000026
        raise errors.invalid_argument("Rule", "", "A rule needs an Expiration or an AbortMultipartUpload.")
    rule_id = (node.findtext("ID") or f"rule-{number}").strip()
    if len(rule_id) > 255:
        raise errors.invalid_argument("ID", rule_id, "The length of an ID must not exceed 255.")
    return Rule(rule_id, node.findtext("Prefix") or "", status == "Enabled", expiration, abort)


def _due(node: ET.Element | None) -> Due | None:
    if node is None:
        return None
    days, before = node.findtext("Days"), node.findtext("CreatedBeforeDate")
    others = sorted({child.tag for child in node} - {"Days", "CreatedBeforeDate"})
    if others:
        raise errors.not_implemented(f"{others[0]} in a lifecycle rule")
    if (days is None) == (before is None):
        # help/en/oss/support/0014-00000060
        raise errors.malformed_xml(f"{node.tag} needs either Days or CreatedBeforeDate")
    if days is not None:
        return Due(days=integer(days, "Days", 1, 2**31 - 1))
    return Due(before=_midnight(before or ""))


def _midnight(text: str) -> datetime:
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%dT00:00:00.000Z").replace(tzinfo=UTC)
    except ValueError:
        form = "CreatedBeforeDate must read yyyy-MM-ddT00:00:00.000Z."
        raise errors.invalid_argument("CreatedBeforeDate", text, form) from None


def _refuse_overlap(prefixes: Sequence[str]) -> None:
    # lifecycle-rules-based-on-the-last-modified-time: no two rules on parts may overlap.
    ordered = sorted(prefixes)
    for shorter, longer in pairwise(ordered):
        if longer.startswith(shorter):
            raise errors.invalid_argument("Prefix", longer, "Rules on parts must not have overlapping prefixes.")


def _text(node: ET.Element, name: str) -> str:
    text = node.findtext(name)
    if text is None:
        raise errors.malformed_xml(f"{node.tag} needs {name}")
    return text


def integer(text: str, name: str, least: int, most: int) -> int:
    """A number a request gives, in a document or as a parameter."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 12 or not least <= int(digits) <= most:
        raise errors.invalid_argument(name, text, f"{name} must be an integer between {least} and {most}.")
    return int(digits)
