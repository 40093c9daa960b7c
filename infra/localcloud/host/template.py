"""The project's own `s.yaml` as the function host understands it: what is deployed is what runs here.

Reads Serverless Devs templates of component `fc3` (edition 3.0.0). What the host does not imitate is refused, so
that nothing is silently different from the cloud; limits are those of the FC 3.0 API and of fc3's schema.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from infra.localcloud.common import Keys, LocalCloudError
from infra.localcloud.host import schedule

RUNTIME = "python3.12"
TRIGGERS_PER_BUCKET_MAX = 10
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
OSS_EVENTS = {
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
}
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")
_HANDLER = re.compile(r"^[A-Za-z_]\w*\.[A-Za-z_]\w*$")
_ROLE = re.compile(r"^(?:acs:ram::\d*:role/)?([A-Za-z0-9.-]{1,64})$")
_VARIABLE = re.compile(r"\$\{([^${}]*)\}")
_CALL = re.compile(r"^(\w+)\((.*)\)$", re.DOTALL)


class TemplateError(LocalCloudError):
    """The template says something the cloud, or this stand-in, does not take; lists every place found."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class TimerTrigger:
    """Wakes its function on a schedule, with a payload."""

    function: str
    name: str
    schedule: schedule.Schedule
    payload: str


@dataclass(frozen=True, slots=True)
class OssTrigger:
    """Wakes its function for events of one bucket whose key has a literal prefix and suffix."""

    function: str
    name: str
    bucket: str
    events: frozenset[str]
    prefix: str
    suffix: str

    @property
    def rule_id(self) -> str:
        """What events carry as `ruleId`: the same for the same trigger, run after run."""
        return hashlib.sha1(f"{self.function}/{self.name}".encode(), usedforsecurity=False).hexdigest()

    def matches(self, bucket: str, key: str, event: str) -> bool:
        """Whether an event of OSS wakes the function."""
        return (
            bucket == self.bucket and event in self.events and key.startswith(self.prefix) and key.endswith(self.suffix)
        )

    def overlaps(self, other: OssTrigger) -> bool:
        """Whether one event could match both: some key then has both prefixes and both suffixes."""
        return (
            self.bucket == other.bucket
            and bool(self.events & other.events)
            and (self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix))
            and (self.suffix.endswith(other.suffix) or other.suffix.endswith(self.suffix))
        )


@dataclass(frozen=True, slots=True)
class HttpTrigger:
    """Lets anybody call its function over HTTP, with these methods."""

    name: str
    methods: frozenset[str]


@dataclass(frozen=True, slots=True)
class Function:
    """One function as deployed."""

    name: str
    handler: str
    code: Path  # the directory that its handler is a file of
    role: str  # the name of its RAM role, "" for none: its calls then carry no credentials
    memory_mb: int
    timeout_s: int
    environment: Mapping[str, str]
    retries_max: int
    on_failure: str | None
    concurrency_max: int | None
    initializer: str
    initializer_timeout_s: int
    log_project: str
    log_store: str
    timers: tuple[TimerTrigger, ...]
    buckets: tuple[OssTrigger, ...]
    http: HttpTrigger | None


@dataclass(frozen=True, slots=True)
class Template:
    """Every function of the project by name."""

    functions: Mapping[str, Function]
    oss_triggers: tuple[OssTrigger, ...] = field(default=())
    timers: tuple[TimerTrigger, ...] = field(default=())


def load(path: Path, code: Path | None, keys: Keys, variables: Mapping[str, str]) -> Template:
    """The template at `path`; raises TemplateError listing what is wrong.

    Handlers are files in `code`, or without it in the directory that each function's own `code` names.

    `${env('X', default)}` looks into `variables`, then into this process's environment.
    """
    document = _resolved(_parsed(path), keys, {**os.environ, **variables})
    problems: list[str] = []
    functions: dict[str, Function] = {}
    resources = _Node(str(path), document).need("resources")
    for _, resource in resources.entries():
        try:
            function = _function(resource, path.resolve().parent, code)
        except TemplateError as exc:
            problems += exc.problems
            continue
        if function.name in functions:
            problems.append(f"{resource.place}: functionName {function.name} is used twice; names are one per account")
        functions[function.name] = function
    oss = tuple(trigger for function in functions.values() for trigger in function.buckets)
    problems += [*_bucket_problems(oss), *_destination_problems(functions)]
    if problems:
        raise TemplateError(problems)
    return Template(functions, oss, tuple(timer for function in functions.values() for timer in function.timers))


class _Node:
    """A value in the template with the place it stands at, for messages that can be acted on."""

    def __init__(self, place: str, value: Any) -> None:
        self.place, self.value = place, value

    def refuse(self, expected: str) -> TemplateError:
        return TemplateError([f"{self.place}: {self.value!r} cannot be used; {expected}"])

    def get(self, key: str) -> _Node | None:
        if not isinstance(self.value, dict):
            raise self.refuse("a mapping belongs here")
        value = self.value.get(key)
        return None if value is None else _Node(f"{self.place}.{key}", value)

    def need(self, key: str) -> _Node:
        node = self.get(key)
        if node is None:
            raise TemplateError([f"{self.place}: {key} is missing; add it"])
        return node

    def entries(self) -> list[tuple[str, _Node]]:
        if not isinstance(self.value, dict):
            raise self.refuse("a mapping belongs here")
        return [(key, _Node(f"{self.place}.{key}", value)) for key, value in self.value.items()]

    def items(self) -> list[_Node]:
        if not isinstance(self.value, list):
            raise self.refuse("a list belongs here")
        return [_Node(f"{self.place}[{index}]", value) for index, value in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.refuse("a text belongs here; put it in quotes")
        return self.value

    def one_of(self, allowed: tuple[str, ...]) -> str:
        if self.value not in allowed:
            raise self.refuse(f"write one of {', '.join(allowed)}")
        return self.text()

    def integer(self, low: int, high: int) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not low <= self.value <= high:
            raise self.refuse(f"write a whole number from {low} to {high}")
        return self.value


def _integer(node: _Node, key: str, default: int, low: int, high: int) -> int:
    found = node.get(key)
    return default if found is None else found.integer(low, high)


def _text(node: _Node | None, key: str, default: str = "") -> str:
    found = None if node is None else node.get(key)
    return default if found is None else found.text()


def _function(resource: _Node, folder: Path, override: Path | None) -> Function:
    resource.need("component").one_of(("fc3",))
    if resource.get("extend") is not None:
        raise resource.need("extend").refuse("extending templates is not supported here; use a YAML anchor")
    props = resource.need("props")
    name = props.need("functionName")
    if not _NAME.match(name.text()):
        raise name.refuse("1 to 64 letters, digits, _ and -, not beginning with a digit or -")
    props.need("runtime").one_of((RUNTIME,))
    props.need("region").text()
    code = folder / props.need("code").text() if override is None else override
    code = code.resolve()
    _check_size(props)
    life = props.get("instanceLifecycleConfig")
    initializer = None if life is None else life.get("initializer")
    retries_max, on_failure = _asynchronous(props.get("asyncInvokeConfig"))
    concurrency = props.get("concurrencyConfig")
    log = props.get("logConfig")
    if log is not None and log.value == "auto":
        log = None
    timers, buckets, http = _triggers(name.text(), props.get("triggers"))
    return Function(
        name=name.text(),
        handler=_handler(props.need("handler"), code),
        code=code,
        role=_role(props.get("role")),
        memory_mb=_memory(props),
        timeout_s=_integer(props, "timeout", 3, 1, 86400),
        environment=_environment(props.get("environmentVariables")),
        retries_max=retries_max,
        on_failure=on_failure,
        concurrency_max=None if concurrency is None else concurrency.need("reservedConcurrency").integer(1, 100000),
        initializer="" if initializer is None else _handler(initializer.need("handler"), code),
        initializer_timeout_s=3 if initializer is None else _integer(initializer, "timeout", 3, 1, 86400),
        log_project=_text(log, "project"),
        log_store=_text(log, "logstore"),
        timers=timers,
        buckets=buckets,
        http=http,
    )


def _role(node: _Node | None) -> str:
    """The role's name, whether it is written alone or as its ARN."""
    if node is None or node.text() == "":
        return ""
    match = _ROLE.match(node.text())
    if match is None:
        raise node.refuse("write a role's name, or acs:ram::<account>:role/<name>")
    return match[1]


def _handler(node: _Node, code: Path) -> str:
    text = node.text()
    if not _HANDLER.match(text):
        raise node.refuse("write file.function for a file at the root of the code")
    path = code / f"{text.partition('.')[0]}.py"
    if not path.is_file():
        raise node.refuse(f"there is no {path}; create it or correct the handler")
    return text


def _memory(props: _Node) -> int:
    memory = _integer(props, "memorySize", 512, 128, 32768)
    if memory % 64:
        raise props.need("memorySize").refuse("memory comes in steps of 64 MB")
    return memory


def _check_size(props: _Node) -> None:
    cpu, disk = props.get("cpu"), props.get("diskSize")
    if (cpu is None) != (disk is None):
        raise TemplateError([f"{props.place}: cpu and diskSize go together; set both or neither"])
    if cpu is None or disk is None:
        return
    if disk.value not in (512, 10240):
        raise disk.refuse("a disk has 512 or 10240 MB")
    if isinstance(cpu.value, bool) or not isinstance(cpu.value, int | float) or not 0.05 <= cpu.value <= 16:
        raise cpu.refuse("write a number from 0.05 to 16")
    if round(cpu.value * 100) % 5:
        raise cpu.refuse("vCPUs come in steps of 0.05")
    if not cpu.value <= _memory(props) / 1024 <= cpu.value * 4:
        raise cpu.refuse(f"with {_memory(props)} MB it must give 1 to 4 GB of memory to a vCPU")


def _environment(node: _Node | None) -> Mapping[str, str]:
    return {} if node is None else {key: value.text() for key, value in node.entries()}


def _asynchronous(node: _Node | None) -> tuple[int, str | None]:
    if node is None:
        return 3, None
    destinations = node.get("destinationConfig")
    if destinations is not None and destinations.get("onSuccess") is not None:
        raise destinations.need("onSuccess").refuse("success destinations are not supported here")
    failure = None if destinations is None else destinations.get("onFailure")
    destination = None if failure is None else failure.need("destination")
    if destination is None:
        return _integer(node, "maxAsyncRetryAttempts", 3, 0, 8), None
    if not re.match(r"^acs:fc:[^:]*:[^:]*:functions/[\w-]+(/LATEST)?$", destination.text()):
        raise destination.refuse("only functions are destinations here: acs:fc:<region>:<account>:functions/<name>")
    name = destination.text().partition("functions/")[2].removesuffix("/LATEST")
    return _integer(node, "maxAsyncRetryAttempts", 3, 0, 8), name


def _triggers(
    function: str, node: _Node | None
) -> tuple[tuple[TimerTrigger, ...], tuple[OssTrigger, ...], HttpTrigger | None]:
    timers: list[TimerTrigger] = []
    buckets: list[OssTrigger] = []
    http: list[HttpTrigger] = []
    names: set[str] = set()
    for trigger in [] if node is None else node.items():
        name, config = trigger.need("triggerName").text(), trigger.need("triggerConfig")
        if name in names:
            raise trigger.need("triggerName").refuse("it names another trigger of this function already")
        names.add(name)
        kind = trigger.need("triggerType").one_of(("timer", "oss", "http"))
        if kind == "timer":
            timers += _timer(function, name, config)
        elif kind == "oss":
            buckets.append(_oss(function, name, trigger.need("sourceArn"), config))
        elif http:
            raise trigger.refuse("a function has at most one HTTP trigger")
        else:
            http.append(_http(name, config))
    return tuple(timers), tuple(buckets), http[0] if http else None


def _timer(function: str, name: str, config: _Node) -> Iterator[TimerTrigger]:
    expression = config.need("cronExpression")
    try:
        when = schedule.parse(expression.text())
    except schedule.ScheduleError as exc:
        raise expression.refuse(f"{exc}; write {schedule.EXPECTED}") from exc
    if config.need("enable").value is True:
        yield TimerTrigger(function, name, when, _text(config, "payload"))


def _oss(function: str, name: str, source: _Node, config: _Node) -> OssTrigger:
    match = re.match(r"^acs:oss:[^:]*:[^:]*:([a-z0-9-]{3,63})$", source.text())
    if match is None:
        raise source.refuse("write acs:oss:<region>:<account>:<bucket>")
    events: set[str] = set()
    for event in config.need("events").items():
        if event.text() == "oss:ObjectCreated:*":
            events |= {known for known in OSS_EVENTS if known.startswith("ObjectCreated:")}
        elif event.text().startswith("oss:") and event.text().removeprefix("oss:") in OSS_EVENTS:
            events.add(event.text().removeprefix("oss:"))
        else:
            raise event.refuse("write an event such as oss:ObjectCreated:PutObject")
    if not events:
        raise config.need("events").refuse("name at least one event")
    key = config.need("filter").need("key")
    return OssTrigger(function, name, match[1], frozenset(events), key.need("prefix").text(), key.need("suffix").text())


def _http(name: str, config: _Node) -> HttpTrigger:
    kind = config.need("authType")
    if kind.value != "anonymous":
        raise kind.refuse("only anonymous HTTP triggers are supported here; let the function check its caller")
    return HttpTrigger(name, frozenset(method.one_of(METHODS) for method in config.need("methods").items()))


def _bucket_problems(triggers: tuple[OssTrigger, ...]) -> Iterator[str]:
    for bucket in sorted({trigger.bucket for trigger in triggers}):
        mine = [trigger for trigger in triggers if trigger.bucket == bucket]
        if len(mine) > TRIGGERS_PER_BUCKET_MAX:
            yield (
                f"bucket {bucket}: {len(mine)} triggers, and OSS takes {TRIGGERS_PER_BUCKET_MAX}; "
                "let functions share a prefix, or use another bucket"
            )
        for index, one in enumerate(mine):
            for other in mine[index + 1 :]:
                if one.overlaps(other):
                    yield (
                        f"bucket {bucket}: {one.function}/{one.name} ({one.prefix!r}…{one.suffix!r}) overlaps "
                        f"{other.function}/{other.name} ({other.prefix!r}…{other.suffix!r}) for the same event, "
                        "which OSS refuses; give them prefixes or suffixes that no key can share"
                    )


def _destination_problems(functions: Mapping[str, Function]) -> Iterator[str]:
    for function in functions.values():
        if function.on_failure == function.name:
            yield f"function {function.name}: its failures go to itself, which never ends; name another function"
        elif function.on_failure is not None and function.on_failure not in functions:
            yield (
                f"function {function.name}: its failures go to {function.on_failure}, which this template does not "
                f"have; name one of {', '.join(sorted(functions))}"
            )


class _Loader(yaml.SafeLoader):
    """The safe loader, refusing a key that stands twice: the first would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node)
            if key in seen:
                mark = key_node.start_mark
                raise TemplateError([f"{mark.name}:{mark.line + 1}: {key!r} stands here a second time; remove one"])
            seen.add(key)
        return super().construct_mapping(node, deep)


def _parsed(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return yaml.load(file, _Loader)  # noqa: S506 - a subclass of the safe loader
    except OSError as exc:
        raise TemplateError([f"{path}: cannot be read ({exc.strerror}); give the project's s.yaml"]) from exc
    except yaml.YAMLError as exc:
        raise TemplateError([f"{path} is not YAML: {exc}"]) from exc


def _resolved(document: Any, keys: Keys, environment: Mapping[str, str]) -> Any:
    """The document with every `${…}` replaced; a value that is one variable keeps that variable's type."""
    variables = document.get("vars", {}) if isinstance(document, dict) else {}

    def value_of(expression: str, place: str) -> Any:
        expression = expression.strip()
        if expression.startswith("vars."):
            found: Any = variables
            for part in expression.removeprefix("vars.").split("."):
                if not isinstance(found, dict) or part not in found:
                    raise TemplateError([f"{place}: ${{{expression}}} is not under vars; add it there"])
                found = found[part]
            return found
        call = _CALL.match(expression)
        arguments = [] if call is None else [yaml.safe_load(text) for text in call[2].split(",", 1)]
        if call is not None and call[1] == "env":
            if arguments[0] not in environment and len(arguments) == 1:
                raise TemplateError([f"{place}: {arguments[0]} is not set; set it, or give env() a default"])
            return environment.get(arguments[0], arguments[-1])
        if call is not None and call[1] == "config" and arguments == ["AccountID"]:
            return keys.account_id
        raise TemplateError(
            [f"{place}: ${{{expression}}} is not supported here; use vars., env() or config('AccountID')"]
        )

    def walk(value: Any, place: str, depth: int = 0) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, f"{place}.{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, f"{place}[{index}]") for index, item in enumerate(value)]
        if not isinstance(value, str) or not _VARIABLE.search(value):
            return value
        if depth > 10:
            raise TemplateError([f"{place}: {value!r} refers to itself; break the circle"])
        whole = _VARIABLE.fullmatch(value)
        if whole is not None:
            return walk(value_of(whole[1], place), place, depth + 1)
        text = _VARIABLE.sub(lambda match: str(value_of(match[1], place)), value)
        return walk(text, place, depth + 1)

    return walk(document, "s.yaml")
