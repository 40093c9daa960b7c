"""The project's own `s.yaml` as the function host understands it: what is deployed is what runs here.

Reads Serverless Devs templates of component `fc3` (edition 3.0.0). `properties` says what each property may be; here
is what several of them must be together, and what a function and its triggers then are.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from infra.localcloud.common import Keys, LocalCloudError
from infra.localcloud.host import properties, schedule

TRIGGERS_PER_BUCKET_MAX = 10
INSTANCES_MAX = 100  # of a region, unless more were granted ("Configure a retry mechanism", 2026-04)
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
    role: str = ""  # the name of the role by which OSS calls the function

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
    is_sized: bool  # whether vCPUs and disk are given
    timeout_s: int
    environment: Mapping[str, str]
    retries_max: int
    event_age_s_max: int  # an event that waited longer is given up
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
    place = str(path)
    problems = properties.document_problems(place, document)
    functions: dict[str, Function] = {}
    resources = document.get("resources") if isinstance(document, dict) else None
    for name, resource in resources.items() if isinstance(resources, dict) else ():
        here = f"{place}.resources.{name}"
        found = properties.problems(here, resource)
        if not found:
            function, found = _function(f"{here}.props", resource["props"], path.resolve().parent, code, keys)
            if function.name in functions:
                found.append(f"{here}: functionName {function.name} is used twice; names are one per account")
            functions[function.name] = function
        problems += found
    if not problems and not functions:
        problems.append(f"{place}.resources: there is no function; name at least one")
    oss = tuple(trigger for function in functions.values() for trigger in function.buckets)
    problems += _bucket_problems(oss)
    if not problems:  # a function that was refused above would be missing as a destination
        problems += _destination_problems(functions)
    if problems:
        raise TemplateError(problems)
    return Template(functions, oss, tuple(timer for function in functions.values() for timer in function.timers))


def resources(path: Path, keys: Keys, variables: Mapping[str, str]) -> dict[str, Any]:
    """The template's resources as they are deployed, every `${…}` replaced; raises TemplateError like `load`."""
    document = _resolved(_parsed(path), keys, {**os.environ, **variables})
    found = document.get("resources") if isinstance(document, dict) else None
    return dict(found) if isinstance(found, dict) else {}


def undeployable(template: Template) -> list[str]:
    """What runs here and must not be deployed: each names the function and what to add.

    A function without a role has no credentials; one without reserved concurrency may take every instance of the
    region; one whose failures go nowhere loses events in silence; one without logs cannot be looked into; one whose
    handler its module does not define fails at every event.
    """
    found = []
    destinations = {function.on_failure for function in template.functions.values()}
    for name, function in template.functions.items():
        at = f"function {name}"
        if not function.role:
            found.append(f"{at}: it has no role, so its calls carry no credentials; add `role`")
        if function.concurrency_max is None:
            found.append(f"{at}: it may take every instance of the region; add `concurrencyConfig`")
        if not function.log_project:
            found.append(f"{at}: its logs are kept nowhere; add `logConfig`")
        if not function.is_sized:
            found.append(f"{at}: its vCPUs and disk are left to the platform; add `cpu` and `diskSize`")
        found += _handler_problems(at, function)
        is_asynchronous = bool(function.timers or function.buckets)
        if is_asynchronous and function.on_failure is None and name not in destinations:
            found.append(f"{at}: an event that fails for good is lost; add `asyncInvokeConfig.destinationConfig`")
        found += [
            f"{at}: trigger {trigger.name} has no role that lets OSS call the function; add `invocationRole`"
            for trigger in function.buckets
            if not trigger.role
        ]
    roles = [function.role for function in template.functions.values() if function.role]
    found += [
        f"role {role} is that of {roles.count(role)} functions; give each its own, so that it may do its work alone"
        for role in sorted({role for role in roles if roles.count(role) > 1})
    ]
    reserved = sum(function.concurrency_max or 0 for function in template.functions.values())
    if reserved >= INSTANCES_MAX:
        found.append(f"{reserved} instances are reserved of the {INSTANCES_MAX} that a region grants; lower some")
    return found


def _handler_problems(at: str, function: Function) -> Iterator[str]:
    """Handlers that their module does not define, told without importing it."""
    written = {"handler": function.handler, "instanceLifecycleConfig.initializer.handler": function.initializer}
    for property_, handler in written.items():
        if not handler:
            continue
        module, _, name = handler.partition(".")
        path = function.code / f"{module}.py"
        try:
            defined = _defined(ast.parse(path.read_bytes(), str(path)).body)
        except (OSError, SyntaxError, ValueError) as exc:  # ValueError: a null byte, before Python 3.12
            wrong = f"{at}: {property_} {handler!r} cannot be used"
            yield f"{wrong}; {path} is not Python that can be read ({exc}); mend it"
            continue
        if name not in defined:
            near = properties.near(name, defined)
            wrong = f"{at}: {property_} {handler!r} cannot be used; {path} defines no function {name!r}"
            yield f"{wrong}; define it, or correct the handler{near}"


def _defined(body: list[ast.stmt]) -> set[str]:
    """The names that a module's own statements give to what can be called: a coroutine is not run by the platform."""
    found: set[str] = set()
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name):
                found.add(name)
            case ast.Assign(targets=targets):
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                found.add(name)
            case ast.ImportFrom(names=names):
                found |= {alias.asname or alias.name for alias in names}
            case ast.If(body=inner, orelse=other):
                found |= _defined(inner) | _defined(other)
            case ast.Try(body=inner, orelse=other, finalbody=last, handlers=handlers):
                found |= _defined([*inner, *other, *last, *(one for handler in handlers for one in handler.body)])
    return found


def _function(
    place: str, props: Mapping[str, Any], folder: Path, override: Path | None, keys: Keys
) -> tuple[Function, list[str]]:
    """A function whose properties each are right, and what is wrong with them together."""
    name, code = props["functionName"], (folder / props["code"] if override is None else override).resolve()
    hook = (props.get("instanceLifecycleConfig") or {}).get("initializer") or {}
    invoked = props.get("asyncInvokeConfig") or {}
    failure = ((invoked.get("destinationConfig") or {}).get("onFailure") or {}).get("destination")
    log = props.get("logConfig")
    log = log if isinstance(log, dict) else {}
    timers, buckets, http, problems = _triggers(place, props, keys)
    problems += _size_problems(place, props)
    problems += _role_problems(f"{place}.role", props.get("role", ""), keys)
    if failure is not None:
        where = f"{place}.asyncInvokeConfig.destinationConfig.onFailure.destination"
        problems += _elsewhere_problems(where, failure, props["region"], keys)
    handlers = {"handler": props["handler"], "instanceLifecycleConfig.initializer.handler": hook.get("handler")}
    for property_, handler in handlers.items():
        module = code / f"{(handler or '').partition('.')[0]}.py"
        if handler and not module.is_file():
            wrong = f"{place}.{property_}: {handler!r} cannot be used; there is no {module}"
            problems.append(f"{wrong}; create it (`make bundle` for what is deployed) or correct the handler")
    function = Function(
        name=name,
        handler=props["handler"],
        code=code,
        role=_role(props.get("role", "")),
        memory_mb=props.get("memorySize", 512),
        is_sized="cpu" in props and "diskSize" in props,
        timeout_s=props.get("timeout", 3),
        environment=props.get("environmentVariables") or {},
        retries_max=invoked.get("maxAsyncRetryAttempts", 3),
        event_age_s_max=invoked.get("maxAsyncEventAgeInSeconds", 86_400),
        on_failure=None if failure is None else failure.partition("functions/")[2].removesuffix("/LATEST"),
        concurrency_max=(props.get("concurrencyConfig") or {}).get("reservedConcurrency"),
        initializer=hook.get("handler", ""),
        initializer_timeout_s=hook.get("timeout", 3),
        log_project=log.get("project", ""),
        log_store=log.get("logstore", ""),
        timers=timers,
        buckets=buckets,
        http=http,
    )
    return function, problems


def _role(text: str) -> str:
    """A role's name, whether it is written alone or as its ARN."""
    return text.rpartition("/")[2]


def _role_problems(place: str, role: str, keys: Keys) -> Iterator[str]:
    """A role is one of the account that the function is in."""
    if role.startswith("acs:") and role.split(":")[3] != keys.account_id:
        expected = f"the role must be of account {keys.account_id}; write ${{config('AccountID')}} for the account"
        yield f"{place}: {role!r} cannot be used; {expected}"


def _elsewhere_problems(place: str, arn: str, region: str, keys: Keys) -> Iterator[str]:
    """Failures go to a function of the same region and account; an ARN without an account means that account."""
    _, _, named_region, account, _ = arn.split(":", 4)
    if named_region != region:
        expected = f"the function is in {region}, and so must its destination be"
        yield f"{place}: {arn!r} cannot be used; {expected}; write the function's region"
    if account not in ("", keys.account_id):
        expected = f"the destination must be of account {keys.account_id}"
        yield f"{place}: {arn!r} cannot be used; {expected}; write ${{config('AccountID')}}, or no account"


def _size_problems(place: str, props: Mapping[str, Any]) -> Iterator[str]:
    cpu, memory_mb = props.get("cpu"), props.get("memorySize", 512)
    if (cpu is None) != (props.get("diskSize") is None):
        yield f"{place}: cpu and diskSize go together; set both or neither"
    if cpu is not None and not cpu <= memory_mb / 1024 <= cpu * 4:
        yield f"{place}.cpu: {cpu} cannot be used; with {memory_mb} MB it must give 1 to 4 GB of memory to a vCPU"


def _triggers(
    place: str, props: Mapping[str, Any], keys: Keys
) -> tuple[tuple[TimerTrigger, ...], tuple[OssTrigger, ...], HttpTrigger | None, list[str]]:
    function = props["functionName"]
    timers: list[TimerTrigger] = []
    buckets: list[OssTrigger] = []
    http: list[HttpTrigger] = []
    problems: list[str] = []
    names: set[str] = set()
    for index, trigger in enumerate(props.get("triggers") or []):
        here, name, config = f"{place}.triggers[{index}]", trigger["triggerName"], trigger["triggerConfig"]
        if name in names:
            wrong = f"{here}.triggerName: {name!r} cannot be used"
            problems.append(f"{wrong}; it names another trigger of this function already")
        names.add(name)
        if trigger["triggerType"] == "timer":
            expression = config["cronExpression"]
            try:
                when = schedule.parse(expression)
            except schedule.ScheduleError as exc:
                wrong = f"{here}.triggerConfig.cronExpression: {expression!r} cannot be used"
                problems.append(f"{wrong}; {exc}; write {schedule.EXPECTED}")
                continue
            if config["enable"]:
                timers.append(TimerTrigger(function, name, when, config.get("payload", "")))
        elif trigger["triggerType"] == "oss":
            problems += _source_problems(here, trigger["sourceArn"], props["region"], keys)
            problems += _role_problems(f"{here}.invocationRole", trigger.get("invocationRole", ""), keys)
            buckets.append(_oss(function, name, trigger))
        elif http:
            problems.append(f"{here}: a function has at most one HTTP trigger; remove this one")
        else:
            http.append(HttpTrigger(name, frozenset(config["methods"])))
    return tuple(timers), tuple(buckets), http[0] if http else None, problems


def _source_problems(place: str, arn: str, region: str, keys: Keys) -> Iterator[str]:
    """A bucket wakes functions of its own region and account."""
    _, _, source_region, account, _ = arn.split(":", 4)
    if source_region != region:
        yield f"{place}.sourceArn: {arn!r} cannot be used; the function is in {region}, and so must its bucket be"
    if account != keys.account_id:
        yield f"{place}.sourceArn: {arn!r} cannot be used; write ${{config('AccountID')}} for the account"


def _oss(function: str, name: str, trigger: Mapping[str, Any]) -> OssTrigger:
    config = trigger["triggerConfig"]
    events = {event.removeprefix("oss:") for event in config["events"]}
    if "ObjectCreated:*" in events:
        events |= {known for known in properties.OSS_EVENTS if known.startswith("ObjectCreated:")}
        events.discard("ObjectCreated:*")
    key, bucket = config["filter"]["key"], trigger["sourceArn"].rpartition(":")[2]
    role = _role(trigger.get("invocationRole", ""))
    return OssTrigger(function, name, bucket, frozenset(events), key["prefix"], key["suffix"], role)


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
    yield from _circles(functions)


def _circles(functions: Mapping[str, Function]) -> Iterator[str]:
    """Failures that come back after two steps or more, each circle once."""
    told: set[str] = set()
    for start in functions:
        way = [start]
        while (following := functions[way[-1]].on_failure) in functions and following not in way:
            way.append(str(following))
        if following == start and len(way) > 1 and start not in told:
            told |= {*way}
            circle = " to ".join([*way, start])
            yield f"failures go from {circle}, which never ends; let one of these functions have no destination"


class _Loader(yaml.SafeLoader):
    """The safe loader, refusing a key that is a list or a mapping, or stands twice: one of both would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            mark = key_node.start_mark
            place = f"{mark.name}:{mark.line + 1}"
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise TemplateError([f"{place}: {key!r} cannot be a key; write a name, and put it in quotes"])
            if key in seen:
                raise TemplateError([f"{place}: {key!r} stands here a second time; remove one"])
            seen.add(key)
        return super().construct_mapping(node, deep)


# The safe loader raises these as they come for a date that no calendar has, or a tag that its value does not fit.
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError)


def _parsed(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return yaml.load(file, _Loader)  # noqa: S506 - a subclass of the safe loader
    except OSError as exc:
        raise TemplateError([f"{path}: cannot be read ({exc.strerror}); give the project's s.yaml"]) from exc
    except _UNREADABLE as exc:
        raise TemplateError([f"{path} is not YAML: {exc}; mend it there"]) from exc


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
        try:
            arguments = [] if call is None else [yaml.safe_load(text) for text in call[2].split(",", 1)]
        except _UNREADABLE as exc:
            wrong = f"{place}: ${{{expression}}} cannot be read"
            raise TemplateError([f"{wrong}; write env('NAME', 'default'), and close every quote"]) from exc
        if call is not None and call[1] == "env" and isinstance(arguments[0], str):
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

    try:
        return walk(document, "s.yaml")
    except RecursionError as exc:
        raise TemplateError(["s.yaml: an anchor (&) holds an alias (*) of itself; break the circle"]) from exc
