"""What component fc3 knows in a template: every property's type and bounds, each checked where it stands.

fc3's own JSON Schema lets a misspelt property pass at every level, takes any mapping as a trigger's configuration and
bounds the age of events wrongly; a deployment then quietly lacks what was meant. Bounds are those of the FC 3.0 API
(CreateFunction, CreateTrigger, PutAsyncInvokeConfig) and of "Limits". What fc3 knows and this host does not imitate
is refused with the reason, so that nothing runs here that would run differently there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Check = Callable[[str, Any], Iterator[str]]

RUNTIME = "python3.12"
REGIONS = (
    *("ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3"),
    *("ap-southeast-5", "ap-southeast-7", "cn-beijing", "cn-chengdu", "cn-hangzhou", "cn-heyuan-acdr-1"),
    *("cn-hongkong", "cn-huhehaote", "cn-qingdao", "cn-shanghai", "cn-shanghai-cloudspe", "cn-shanghai-finance-1"),
    *("cn-shenzhen", "cn-wulanchabu", "cn-zhangjiakou", "eu-central-1", "eu-west-1", "me-central-1", "us-east-1"),
    "us-west-1",
)
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
OSS_EVENTS = (
    "ObjectCreated:AppendObject",
    "ObjectCreated:CompleteMultipartUpload",
    "ObjectCreated:CopyObject",
    "ObjectCreated:InitiateMultipartUpload",
    "ObjectCreated:PostObject",
    "ObjectCreated:PutObject",
    "ObjectCreated:PutSymlink",
    "ObjectCreated:UploadPart",
    "ObjectCreated:UploadPartCopy",
    "ObjectModified:UpdateObjectMeta",
    "ObjectRemoved:AbortMultipartUpload",
    "ObjectRemoved:DeleteObject",
    "ObjectRemoved:DeleteObjects",
)
EVENT_AGE_S_MAX = 604_800
PAYLOAD_BYTES_MAX = 128 * 1024  # of an asynchronous invocation


def problems(place: str, resource: Any) -> list[str]:
    """Everything wrong with one resource by itself: each names the place, the value, what was expected."""
    return list(_RESOURCE(place, resource))


def document_problems(place: str, document: Any) -> list[str]:
    """What is wrong with the template around its resources."""
    return list(_DOCUMENT(place, document))


# -- how a value is checked ---------------------------------------------------------------------------------------


def _wrong(place: str, value: Any, expected: str) -> str:
    return f"{place}: {value!r} cannot be used; {expected}"


def text(pattern: str = "", expected: str = "") -> Check:
    """A text, all of which matches `pattern`."""
    compiled = re.compile(pattern, re.DOTALL)

    def check(place: str, value: Any) -> Iterator[str]:
        if not isinstance(value, str):
            yield _wrong(place, value, "a text belongs here; put it in quotes")
        elif pattern and not compiled.fullmatch(value):
            yield _wrong(place, value, expected)

    return check


def whole(low: int, high: int, step: int = 1, steps: str = "") -> Check:
    """A whole number from `low` to `high`, in steps."""

    def check(place: str, value: Any) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            yield _wrong(place, value, f"write a whole number from {low} to {high}")
        elif value % step:
            yield _wrong(place, value, steps)

    return check


def vcpus(place: str, value: Any) -> Iterator[str]:
    """0.05 to 16 in steps of 0.05."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.05 <= value <= 16:
        yield _wrong(place, value, "write a number from 0.05 to 16")
    elif abs(value * 20 - round(value * 20)) > 1e-9:
        yield _wrong(place, value, "vCPUs come in steps of 0.05")


def yes_or_no(place: str, value: Any) -> Iterator[str]:
    """A boolean, not the text of one."""
    if not isinstance(value, bool):
        yield _wrong(place, value, "write true or false")


def one_of(*allowed: Any, because: str = "") -> Check:
    """One of a few values of the very same type."""

    def check(place: str, value: Any) -> Iterator[str]:
        if not any(value == one and type(value) is type(one) for one in allowed):
            meant = near(value, allowed)
            listed = ", ".join(map(str, allowed))
            yield _wrong(place, value, f"write one of {listed}" + (f" ({because})" if because else "") + meant)

    return check


def each(item: Check, at_least: int = 0) -> Check:
    """A list of things."""

    def check(place: str, value: Any) -> Iterator[str]:
        if not isinstance(value, list):
            yield _wrong(place, value, "a list belongs here")
            return
        if len(value) < at_least:
            yield _wrong(place, value, f"name at least {at_least}")
        for index, one in enumerate(value):
            yield from item(f"{place}[{index}]", one)

    return check


def named(fields: Mapping[str, Check], required: Iterable[str] = ()) -> Check:
    """A mapping with known names; those required must be there and not empty."""
    needed = tuple(required)

    def check(place: str, value: Any) -> Iterator[str]:
        if not isinstance(value, dict):
            yield _wrong(place, value, "a mapping belongs here")
            return
        for name in needed:
            if value.get(name) is None:
                yield f"{place}: {name} is missing; add it"
        for name, one in value.items():
            if name not in fields:
                known = f"known here are {', '.join(fields)}"
                yield f"{place}.{name}: there is no property {name!r}; {known}{near(name, fields)}"
            elif one is None and name not in needed:
                yield f"{place}.{name}: it has no value; give it one, or remove it"
            elif one is not None:
                yield from fields[name](f"{place}.{name}", one)

    return check


def refused(why: str) -> Check:
    """A property that fc3 knows and that would make a difference this host cannot show."""

    def check(place: str, value: Any) -> Iterator[str]:
        yield _wrong(place, value, f"fc3 knows it, and it is not imitated here: {why}")

    return check


def near(name: Any, known: Iterable[Any]) -> str:
    """What was likely meant, as the end of a sentence; nothing when no known name is like it."""
    by_lower = {str(one).lower(): str(one) for one in known}
    found = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.75)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""


def _variables(place: str, value: Any) -> Iterator[str]:
    """Environment variables: names that a shell could hold, texts as values, none that the platform sets itself."""
    if not isinstance(value, dict):
        yield _wrong(place, value, "a mapping of names to texts belongs here")
        return
    for name, one in value.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield _wrong(f"{place}.{name}", name, "a variable's name has letters, digits and _, and no digit first")
        elif name.startswith(("FC_", "ALIBABA_CLOUD_")):
            yield _wrong(f"{place}.{name}", one, "Function Compute sets variables of this name itself; choose another")
        if not isinstance(one, str):
            yield _wrong(f"{place}.{name}", one, "a text belongs here; put it in quotes")


# -- what fc3 knows -----------------------------------------------------------------------------------------------

_NAME = text(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", "1 to 64 letters, digits, _ and -, not beginning with a digit or -")
_TRIGGER_NAME = text(
    r"[A-Za-z_][A-Za-z0-9_-]{0,127}", "1 to 128 letters, digits, _ and -, not beginning with a digit or -"
)
_HANDLER = text(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", "write file.function for a file at the root of the code")
_ROLE = text(r"(acs:ram::\d*:role/)?[A-Za-z0-9.-]{1,64}|", "write a role's name, or acs:ram::<account>:role/<name>")
_LATEST = one_of("LATEST", because="versions and aliases are not imitated here")
_DESCRIPTION = text(r".{0,256}", "at most 256 characters")
_DESTINATION = text(
    r"acs:fc:[^:]*:[^:]*:functions/[\w-]+(/LATEST)?",
    "only functions are destinations here: acs:fc:<region>:<account>:functions/<name>",
)
_TIMEOUT = whole(1, 86_400)


def _log(place: str, value: Any) -> Iterator[str]:
    if value == "auto":
        return
    fields = {
        "project": text(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", "3 to 63 small letters, digits and -"),
        "logstore": text(r"[a-z0-9][a-z0-9_-]{0,61}[a-z0-9]", "2 to 63 small letters, digits, - and _"),
        "enableRequestMetrics": yes_or_no,
        "enableInstanceMetrics": yes_or_no,
        "enableLlmMetrics": yes_or_no,
        "logBeginRule": one_of("DefaultRegex", "None"),
    }
    yield from named(fields, ["project", "logstore"])(place, value)


_HOOK = {"handler": _HANDLER, "timeout": whole(1, 300), "command": refused("a built-in runtime has handlers")}
_TIMER = {
    "cronExpression": text(),
    "enable": yes_or_no,
    "payload": text(rf".{{0,{PAYLOAD_BYTES_MAX // 4}}}", "a payload has at most 128 KB"),
}
_PREFIX = text(r"(?![/\\]).*", "no key of OSS begins with / or \\; remove what it begins with")
_OSS = {
    "events": each(one_of(*(f"oss:{event}" for event in ("ObjectCreated:*", *OSS_EVENTS))), at_least=1),
    "filter": named({"key": named({"prefix": _PREFIX, "suffix": text()}, ["prefix", "suffix"])}, ["key"]),
}
_HTTP = {
    "authType": one_of("anonymous", because="only anonymous calls are imitated here; the function checks its caller"),
    "methods": each(one_of(*METHODS), at_least=1),
    "disableURLInternet": one_of(False, because="its URL is on loopback here in any case"),
    "authConfig": refused("the function checks its caller"),
}
_COMMON = {"triggerName": _TRIGGER_NAME, "triggerType": text(), "qualifier": _LATEST, "description": _DESCRIPTION}
_ARN = text(r"acs:oss:[^:]*:[^:]*:[a-z0-9-]{3,63}", "write acs:oss:<region>:<account>:<bucket>")
_INVOKER = text(r"(acs:ram::\d*:role/)?[A-Za-z0-9.-]{1,64}", "write a role's name, or acs:ram::<account>:role/<name>")
_NEEDED = ["triggerName", "triggerType", "triggerConfig"]
_TRIGGERS: Mapping[str, Check] = {
    "timer": named({**_COMMON, "triggerConfig": named(_TIMER, ["cronExpression", "enable"])}, _NEEDED),
    "oss": named(
        {**_COMMON, "sourceArn": _ARN, "invocationRole": _INVOKER, "triggerConfig": named(_OSS, ["events", "filter"])},
        [*_NEEDED, "sourceArn"],
    ),
    "http": named({**_COMMON, "triggerConfig": named(_HTTP, ["authType", "methods"])}, _NEEDED),
}
_OTHER_TRIGGERS = ("log", "mns_topic", "cdn_events", "tablestore", "eventbridge")


def _trigger(place: str, value: Any) -> Iterator[str]:
    kind = value.get("triggerType") if isinstance(value, dict) else None
    if kind in _OTHER_TRIGGERS:
        yield _wrong(f"{place}.triggerType", kind, f"only {', '.join(_TRIGGERS)} are imitated here")
    elif not isinstance(kind, str) or kind not in _TRIGGERS:
        known = f"write one of {', '.join(_TRIGGERS)}"
        yield _wrong(f"{place}.triggerType", kind, known + near(kind, _TRIGGERS))
    else:
        yield from _TRIGGERS[kind](place, value)


_ASYNC = {
    "asyncTask": one_of(False, because="asynchronous tasks are not imitated here"),
    "destinationConfig": named(
        {
            "onFailure": named({"destination": _DESTINATION}, ["destination"]),
            "onSuccess": refused("success destinations; let the function write an object"),
        }
    ),
    "maxAsyncEventAgeInSeconds": whole(1, EVENT_AGE_S_MAX),
    "maxAsyncRetryAttempts": whole(0, 8),
    "qualifier": _LATEST,
}
_MOUNTS = "functions keep nothing on mounted disks; use OSS"
_NETWORK = "a private network"
_PROPS: Mapping[str, Check] = {
    "functionName": _NAME,
    "region": one_of(*REGIONS),
    "runtime": one_of(RUNTIME, because="this host runs no other"),
    "code": text(r"[^\x00]+", "name the folder of the code"),
    "handler": _HANDLER,
    "role": _ROLE,
    "description": _DESCRIPTION,
    "memorySize": whole(128, 32_768, 64, "memory comes in steps of 64 MB"),
    "cpu": vcpus,
    "diskSize": one_of(512, 10_240, because="MB"),
    "timeout": _TIMEOUT,
    "environmentVariables": _variables,
    "asyncInvokeConfig": named(_ASYNC),
    "concurrencyConfig": named({"reservedConcurrency": whole(1, 100_000)}, ["reservedConcurrency"]),
    "instanceConcurrency": one_of(1, because="a built-in runtime handles one event at a time"),
    "instanceLifecycleConfig": named(
        {"initializer": named(_HOOK, ["handler"]), "preStop": refused("instances end without being asked")}
    ),
    "internetAccess": one_of(True, because="this host cannot keep a function from the network"),
    "logConfig": _log,
    "tags": each(named({"key": text(r".{1,128}", "1 to 128 characters"), "value": text()}, ["key", "value"])),
    "resourceGroupId": text(),
    "triggers": each(_trigger),
    "disableInjectCredentials": one_of("None", because="functions read their credentials from the environment"),
    "annotations": refused("headers of the deployment's calls"),
    "customContainerConfig": refused(f"the runtime is {RUNTIME}"),
    "customDNS": refused(_NETWORK),
    "customDomain": refused("HTTP triggers have their own names here"),
    "customRuntimeConfig": refused(f"the runtime is {RUNTIME}"),
    "enableLongLiving": refused("instances end when they are idle"),
    "endpoint": refused("another Function Compute than the region's"),
    "gpuConfig": refused("there are no GPUs"),
    "idleTimeout": refused("instances are kept for a time of the host's own"),
    "instanceIsolationMode": refused("instances are processes"),
    "layers": refused("the bundle holds everything that the function needs"),
    "nasConfig": refused(_MOUNTS),
    "ossMountConfig": refused(_MOUNTS),
    "provisionConfig": refused("instances start when they are needed"),
    "scalingConfig": refused("instances start when they are needed"),
    "sessionAffinity": refused("any instance takes any event"),
    "sessionAffinityConfig": refused("any instance takes any event"),
    "supplement": refused("what it adds is unknown"),
    "tracingConfig": refused("there is no tracing service"),
    "vpcBinding": refused(_NETWORK),
    "vpcConfig": refused(_NETWORK),
}
_RESOURCE = named(
    {
        "component": one_of("fc3"),
        "props": named(_PROPS, ["functionName", "region", "runtime", "code", "handler"]),
        "extend": refused("extending templates; use a YAML anchor"),
        "actions": refused("commands around a deployment"),
    },
    ["component", "props"],
)


def _anything(_: str, __: Any) -> Iterator[str]:
    return iter(())


_DOCUMENT = named(
    {
        "edition": one_of("3.0.0"),
        "name": text(r"[\w-]+", "a name of letters, digits, - and _"),
        "access": text(),
        "vars": _anything,
        "resources": _anything,
    },
    ["resources"],
)
