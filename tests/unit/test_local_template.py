"""The function host reads the project's template as the cloud does, and refuses what the cloud would not take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from infra.clearbook import deploying
from infra.localcloud import common
from infra.localcloud.host.template import TemplateError, load, undeployable

FUNCTIONS = Path(__file__).parents[1] / "contract" / "host_functions"
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0 30 1 1 * *", "30 1 1 * *", r"cronExpression: '30 1 1 \* \*' cannot be used; it has 5 fields"),
        ("{prefix: orders/, suffix: .json}", "{prefix: orders/}", "filter.key: suffix is missing"),
        ("runtime: python3.12", "runtime: python3.11", "'python3.11' cannot be used; write one of python3.12"),
        ("handler: fail.handler", "handler: absent.handler", "there is no .*absent.py"),
        ("handler: fail.handler", "handler: pkg.fail.handler", "write file.function"),
        ("authType: anonymous", "authType: jwt", "only anonymous"),
        ("timeout: 1\n", "timeout: 0\n", "whole number from 1 to 86400"),
        ("cpu: 0.5", "cpu: 0.1", "1 to 4 GB"),
        ("      diskSize: 512\n", "", "cpu and diskSize go together"),
        ("memorySize: 128", "memorySize: 130", "steps of 64"),
        ("GREETING: ${env('HOST_TEST_GREETING', 'hello')}", "GREETING: 1", "a text belongs here"),
        ("${env('HOST_TEST_GREETING', 'hello')}", "${env('HOST_TEST_GREETING')}", "HOST_TEST_GREETING is not set"),
        ("region: ${vars.region}", "region: ${vars.land}", "vars.land} is not under vars"),
        ("functions/record", "functions/nobody", "its failures go to nobody"),
        ("functions/record", "functions/fail", "to itself"),
        ("functionName: broken", "functionName: fail", "fail is used twice"),
        ("oss:ObjectCreated:PutObject", "ObjectCreated:PutObject", "write one of oss:ObjectCreated:"),
        ("      timeout: 1\n", "      timeout: 1\n      timeout: 2\n", "'timeout' stands here a second time"),
        ("name: host-test", "name: [", "is not YAML"),
        ("name: host-test", "name: 2026-02-30", "is not YAML: day"),
        ("name: host-test", "name: &a [*a]", "holds an alias .* of itself; break the circle"),
        ("code: ./", 'code: "a\\0b"', "name the folder of the code"),
        ("name: host-test", "name: !!map 5", "is not YAML: expected a mapping"),
        ("name: host-test", "? [a]\n: 1", r"s.yaml:3: \['a'\] cannot be a key; write a name"),
        ("name: host-test", "? {a: [b]}\n: 1", r"s.yaml:3: \{'a': \['b'\]\} cannot be a key"),
        (
            "'HOST_TEST_GREETING', 'hello'",
            "'HOST_TEST_GREETING, ''",
            "GREETING: .* cannot be read; .* close every quote",
        ),
        ("'HOST_TEST_GREETING', 'hello'", "[A], 'hello'", r"GREETING: \$\{env\(\[A\], 'hello'\)\} is not supported"),
        ("triggerName: monthly", "triggerName: daily", "names another trigger"),
    ],
)
def test_a_template_the_cloud_would_not_take_is_refused_with_the_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = (FUNCTIONS / "s.yaml").read_text()
    assert old in text
    path = tmp_path / "s.yaml"
    path.write_text(text.replace(old, new))

    with pytest.raises(TemplateError, match=said):
        load(path, FUNCTIONS, common.load_keys(tmp_path), {})


def bucket_template(tmp_path: Path, filters: list[tuple[str, str]]) -> Path:
    """A template whose one function has these prefixes and suffixes as triggers of one bucket."""
    source = f"acs:oss:cn-hangzhou:{common.load_keys(tmp_path).account_id}:work"
    triggers = [
        {
            "triggerName": f"t{number}", "triggerType": "oss", "sourceArn": source,
            "triggerConfig": {
                "events": ["oss:ObjectCreated:*"], "filter": {"key": {"prefix": prefix, "suffix": suffix}},
            },
        }
        for number, (prefix, suffix) in enumerate(filters)
    ]  # fmt: skip
    props = {
        "functionName": "probe", "region": "cn-hangzhou", "runtime": "python3.12", "code": ".",
        "handler": "probe.handler",
        "triggers": triggers,
    }  # fmt: skip
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps({"resources": {"probe": {"component": "fc3", "props": props}}}))
    return path


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (("raw/", "_complete.json"), ("raw/", ".json"), True),
        (("raw/", ".json"), ("raw/a/", ""), True),
        (("", ""), ("raw/", ".json"), True),
        (("raw/", "a.json"), ("raw/", "b.json"), False),
        (("raw/", ".json"), ("seals/", ".json"), False),
    ],
)
def test_triggers_that_one_key_could_match_are_refused(
    tmp_path: Path, one: tuple[str, str], other: tuple[str, str], overlap: bool
) -> None:
    path = bucket_template(tmp_path, [one, other])
    if overlap:
        with pytest.raises(TemplateError, match="overlaps"):
            load(path, FUNCTIONS, common.load_keys(tmp_path), {})
    else:
        assert len(load(path, FUNCTIONS, common.load_keys(tmp_path), {}).oss_triggers) == 2


def test_the_eleventh_trigger_of_a_bucket_is_refused(tmp_path: Path) -> None:
    path = bucket_template(tmp_path, [(f"{number:02}/", "") for number in range(11)])
    with pytest.raises(TemplateError, match="11 triggers, and OSS takes 10"):
        load(path, FUNCTIONS, common.load_keys(tmp_path), {})


@pytest.mark.parametrize(
    ("written", "name"), [("books-pull", "books-pull"), ("acs:ram::1000000000000001:role/books-pull", "books-pull")]
)
def test_a_role_is_known_by_its_name_however_it_is_written(tmp_path: Path, written: str, name: str) -> None:
    path = bucket_template(tmp_path, [])
    path.write_text(path.read_text().replace('"handler"', f'"role": "{written}", "handler"'))

    assert load(path, FUNCTIONS, common.load_keys(tmp_path), {}).functions["probe"].role == name


SETTLE = "resources.settle.props"
LOG_CONFIG = "    logConfig:\n      project: ${vars.log_project}\n      logstore: functions\n"


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ("edition: 3.0.0", "edition: 1.0.0", "s.yaml.edition", "write one of 3.0.0"),
        ("resources:\n", "resource: {}\nresources:\n", "s.yaml.resource", "did you mean resources?"),
        ("component: fc3", "component: fc", "resources.plan_pulls.component", "write one of fc3"),
        ("memorySize: 4096", "memorysize: 4096", f"{SETTLE}.memorysize", "did you mean memorySize?"),
        ("memorySize: 4096", "memorySize: 4000", f"{SETTLE}.memorySize", "steps of 64"),
        ("memorySize: 4096", "memorySize: '4096'", f"{SETTLE}.memorySize", "whole number"),
        ("memorySize: 4096", "memorySize: 16384", f"{SETTLE}.cpu", "1 to 4 GB"),
        ("cpu: 2", "cpu: 2.02", f"{SETTLE}.cpu", "steps of 0.05"),
        ("cpu: 2", "cpu: true", f"{SETTLE}.cpu", "number from 0.05"),
        ("diskSize: 10240", "diskSize: 2048", f"{SETTLE}.diskSize", "write one of 512, 10240"),
        ("timeout: 900", "timeout: 86401", f"{SETTLE}.timeout", "from 1 to 86400"),
        ("internetAccess: true", "internetAccess: yes please", f"{SETTLE}.internetAccess", "write one of True"),
        ("internetAccess: true", "internetAccess: 1", f"{SETTLE}.internetAccess", "write one of True"),
        ("internetAccess: true", "internetAccess: false", f"{SETTLE}.internetAccess", "from the network"),
        ("region: ${vars.region}", "region: cn-hangzou", f"{SETTLE}.region", "did you mean cn-hangzhou?"),
        ("reservedConcurrency: 8", "reservedConcurrency: 0", f"{SETTLE}.concurrencyConfig", "from 1 to 100000"),
        ("reservedConcurrency: 8", "reserved: 8", f"{SETTLE}.concurrencyConfig", "reservedConcurrency is missing"),
        ("maxAsyncRetryAttempts: 3", "maxAsyncRetryAttempts: 9", f"{SETTLE}.asyncInvokeConfig", "from 0 to 8"),
        ("InSeconds: 86400", "InSeconds: 604801", f"{SETTLE}.asyncInvokeConfig", "from 1 to 604800"),
        ("maxAsyncEventAgeInSeconds: 86400", "maxAsyncEventAge: 9", f"{SETTLE}.asyncInvokeConfig.maxAsyncEventAge",
         "did you mean maxAsyncEventAgeInSeconds?"),
        ("onFailure:", "onFailures:", f"{SETTLE}.asyncInvokeConfig.destinationConfig", "did you mean onFailure?"),
        ("onFailure:", "onSuccess:", f"{SETTLE}.asyncInvokeConfig.destinationConfig.onSuccess", "write an object"),
        ("acs:fc:${vars.region}::functions/sweep", "acs:mns:cn-hangzhou::/topics/t/messages",
         f"{SETTLE}.asyncInvokeConfig.destinationConfig.onFailure.destination", "only functions"),
        ("logstore: functions", "logstore: Functions", f"{SETTLE}.logConfig.logstore", "small letters"),
        ("logstore: functions", "logStore: functions", f"{SETTLE}.logConfig.logStore", "did you mean logstore?"),
        ("logBeginRule: DefaultRegex", "logBeginRule: Regex", f"{SETTLE}.logConfig.logBeginRule", "DefaultRegex"),
        ("enableRequestMetrics: true", "enableRequestMetrics: 'true'", f"{SETTLE}.logConfig", "true or false"),
        ("{key: application, value: clearbook}", "{name: application}", f"{SETTLE}.tags[0]", "key is missing"),
        ("PYTHONPATH: /code/python", "PYTHONPATH: 7", f"{SETTLE}.environmentVariables.PYTHONPATH", "in quotes"),
        ("PYTHONPATH: /code/python", "FC_REGION: here", f"{SETTLE}.environmentVariables.FC_REGION", "sets variables"),
        ("PYTHONPATH: /code/python", "PYTHON-PATH: a", f"{SETTLE}.environmentVariables.PYTHON-PATH", "digits and _"),
        ("role/clearbook-settle", "role/clearbook settle", f"{SETTLE}.role", "acs:ram::<account>:role/<name>"),
        ("functionName: settle", "functionName: 2settle", f"{SETTLE}.functionName", "not beginning with a digit"),
        ("handler: settle.handler", "handler: settle", f"{SETTLE}.handler", "write file.function"),
        ("handler: settle.handler", "handler: settled.handler", f"{SETTLE}.handler", "make bundle"),
        ("description: an order", "layers: []\n      description: an order", f"{SETTLE}.layers", "not imitated here"),
        ("description: an order", "vpcConfig: auto\n      description: an order", f"{SETTLE}.vpcConfig", "fc3 knows"),
        ("triggerType: timer", "triggerType: time", "triggers[0].triggerType", "did you mean timer?"),
        ("triggerType: timer", "triggerType: log", "triggers[0].triggerType", "imitated here"),
        ("payload: daily", "payLoad: daily", "triggerConfig.payLoad", "did you mean payload?"),
        ("payload: daily", "payload: 1", "triggerConfig.payload", "in quotes"),
        ("0 0 9 * * *", "0 0 25 * * *", "triggers[0].triggerConfig.cronExpression", "write"),
        ("enable: true}", "enabled: true}", "triggerConfig.enabled", "did you mean enable?"),
        ("prefix: work/settle/", "prefix: 7", f"{SETTLE}.triggers[0].triggerConfig.filter.key.prefix", "in quotes"),
        ("prefix: work/settle/, suffix", "Prefix: work/settle/, suffix", "filter.key.Prefix", "did you mean prefix?"),
        ("prefix: work/settle/", "prefix: /work/settle/", f"{SETTLE}.triggers[0].triggerConfig.filter.key.prefix",
         "'/work/settle/' cannot be used; no key of OSS begins with /"),
        ("prefix: work/settle/", "prefix: '\\work/settle/'", f"{SETTLE}.triggers[0].triggerConfig.filter.key.prefix",
         "no key of OSS begins with /"),
        ("${config('AccountID')}:role/clearbook-settle", "999:role/clearbook-settle", f"{SETTLE}.role",
         "'acs:ram::999:role/clearbook-settle' cannot be used; the role must be of account"),
        ("${config('AccountID')}:role/clearbook-settle", ":role/clearbook-settle", f"{SETTLE}.role", "AccountID"),
        ("${config('AccountID')}:role/clearbook-oss-events", "999:role/clearbook-oss-events",
         f"{SETTLE}.triggers[0].invocationRole", "write ${config('AccountID')}"),
        ("acs:fc:${vars.region}::functions/sweep", "acs:fc:us-west-1::functions/sweep",
         f"{SETTLE}.asyncInvokeConfig.destinationConfig.onFailure.destination", "write the function's region"),
        ("acs:fc:${vars.region}::functions/sweep", "acs:fc:${vars.region}:123:functions/sweep",
         f"{SETTLE}.asyncInvokeConfig.destinationConfig.onFailure.destination", "or no account"),
        ("oss:ObjectCreated:PutObject", "oss:ObjectCreated:Put", "triggerConfig.events[0]", "PutObject"),
        ("invocationRole: ${vars.invoker}", "invocationRole: a/b/c", "triggers[0].invocationRole", "role's name"),
        ("invocationRole: ${vars.invoker}", "invokationRole: x", "triggers[0].invokationRole", "mean invocationRole?"),
        ("acs:oss:${vars.region}:", "acs:oss:cn-beijing:", "triggers[0].sourceArn", "so must its bucket be"),
        ("${config('AccountID')}:${vars.buckets}", "12:${vars.buckets}", "triggers[0].sourceArn", "AccountID"),
        ("triggerName: nightly", "triggerName: the night", "triggers[0].triggerName", "1 to 128"),
        ("triggers:\n        - triggerName: nightly", "triggers: {}\n        #", "sweep.props.triggers", "a list"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_named_with_its_place_and_what_was_expected(
    tmp_path: Path, old: str, new: str, place: str, said: str
) -> None:
    text = (ROOT / "s.yaml").read_text()
    assert old in text
    changed = text.replace(old, new)
    if "triggers: {}" in new:
        changed = changed[: changed.index("        #")]
    path = tmp_path / "s.yaml"
    path.write_text(changed)

    with pytest.raises(TemplateError) as refused:
        load(path, ROOT / "functions", common.load_keys(tmp_path), {})
    assert [problem for problem in refused.value.problems if place in problem and said in problem], refused.value


def test_every_problem_of_a_template_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    text = (ROOT / "s.yaml").read_text()
    path.write_text(text.replace("cpu: 2\n", "cpus: 2\n").replace("timeout: 120", "timeout: 0"))

    with pytest.raises(TemplateError) as refused:
        load(path, ROOT / "functions", common.load_keys(tmp_path), {})
    assert len([problem for problem in refused.value.problems if "props.cpus:" in problem]) == 4
    shared, own = text.count("<<: *function\n"), text.count("\n      timeout: ")
    assert own
    assert len([problem for problem in refused.value.problems if "props.timeout:" in problem]) == shared - own


def test_failures_that_come_back_are_refused(tmp_path: Path) -> None:
    text = (ROOT / "s.yaml").read_text()
    given = "asyncInvokeConfig: {maxAsyncRetryAttempts: 1, maxAsyncEventAgeInSeconds: 43200}"
    assert given in text
    path = tmp_path / "s.yaml"
    back = (
        'asyncInvokeConfig: {destinationConfig: {onFailure: {destination: "acs:fc:${vars.region}::functions/settle"}}}'
    )
    path.write_text(text.replace(given, back))

    with pytest.raises(TemplateError, match="failures go from settle to sweep to settle, which never ends"):
        load(path, ROOT / "functions", common.load_keys(tmp_path), {})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("      role: acs:ram::${config('AccountID')}:role/clearbook-settle\n", "", "function settle: it has no role"),
        ("clearbook-settle", "clearbook-sweep", "role clearbook-sweep is that of 2 functions"),
        (
            "    logConfig:\n      project: ${vars.log_project}\n      logstore: functions\n",
            "    logConfig: auto\n",
            "kept nowhere",
        ),
        ("      concurrencyConfig: {reservedConcurrency: 8}\n", "", "function settle: it may take every instance"),
        ("reservedConcurrency: 8", "reservedConcurrency: 90", "instances are reserved of the 100"),
        ("          invocationRole: ${vars.invoker}\n", "", "function settle: trigger ordered has no role"),
        ("    cpu: 0.5\n    diskSize: 512\n", "", "function plan_pulls: its vCPUs and disk"),
        ("handler: settle.handler", "handler: settle.handlr", "settle.py defines no function 'handlr'"),
        ("handler: settle.handler", "handler: settle.handlr", "correct the handler; did you mean handler?"),
        (
            "handler: settle.handler",
            "handler: settle.handler\n      instanceLifecycleConfig: {initializer: {handler: settle.start}}",
            "function settle: instanceLifecycleConfig.initializer.handler 'settle.start' cannot be used",
        ),
    ],
)
def test_what_runs_here_and_must_not_be_deployed_is_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (ROOT / "s.yaml").read_text()
    assert old in text
    path = tmp_path / "s.yaml"
    text = text.replace(old, new)
    if "logConfig: auto" in new:  # what belonged to the mapping that is gone
        lines = text.split("\n")
        text = "\n".join(line for line in lines if not line.startswith(("      enable", "      logBegin")))
    path.write_text(text)

    found = undeployable(load(path, ROOT / "functions", common.load_keys(tmp_path), {}))
    assert [problem for problem in found if said in problem], found


def test_an_event_is_lost_when_its_function_names_no_destination(tmp_path: Path) -> None:
    found = undeployable(load(bucket_template(tmp_path, [("a/", "")]), FUNCTIONS, common.load_keys(tmp_path), {}))

    assert [problem for problem in found if "an event that fails for good is lost" in problem]


def test_the_project_can_be_deployed_as_it_is(tmp_path: Path) -> None:
    assert undeployable(load(ROOT / "s.yaml", ROOT / "functions", common.load_keys(tmp_path), {})) == []


@pytest.mark.parametrize(
    ("module", "is_defined"),
    [
        ("def handler(event, context): ...", True),
        ("handler = print", True),
        ("from os import getcwd as handler", True),
        (
            "try:\n    from os import nothing as handler\nexcept ImportError:\n    def handler(event, context): ...",
            True,
        ),
        ("raise SystemExit('imported')\ndef handler(event, context): ...", True),
        ("async def handler(event, context): ...", False),
        ("class Settle:\n    def handler(self, event, context): ...", False),
        ("def other():\n    def handler(event, context): ...", False),
        ("handler: object", False),
        ("def handler(:", False),
    ],
)
def test_a_handler_is_what_its_module_defines_and_the_platform_can_call(
    tmp_path: Path, module: str, is_defined: bool
) -> None:
    path = bucket_template(tmp_path, [])
    (tmp_path / "probe.py").write_text(module)

    found = undeployable(load(path, tmp_path, common.load_keys(tmp_path), {}))
    assert any("handler 'probe.handler' cannot be used" in problem for problem in found) is not is_defined


VARIABLES = f"{SETTLE}.environmentVariables"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bundle/settle", "bundel/settle",
         f"{SETTLE}.code: './build/bundel/settle' cannot be used; `make bundle` makes ./build/bundle/settle"),
        ("bundle/settle", "bundle/sweep", f"{SETTLE}.code: './build/bundle/sweep' cannot be used"),
        ("PYTHONPATH: /code/python", "PYTHNPATH: /code/python", f"{VARIABLES}.PYTHONPATH: is missing"),
        ("PYTHONPATH: /code/python", "PYTHONPATH: /code/pyhton", f"{VARIABLES}.PYTHONPATH: '/code/pyhton' cannot be"),
        ("CLEARBOOK_REGION: ", "CLEARBOOK_REGOIN: ", f"{VARIABLES}.CLEARBOOK_REGION: is missing"),
        ("CLEARBOOK_BUCKET_PREFIX: ", "BUCKET_PREFIX: ", f"{VARIABLES}.CLEARBOOK_BUCKET_PREFIX: is missing"),
        ("CLEARBOOK_OSS_ENDPOINT: ", "OSS_ENDPOINT: ", f"{VARIABLES}.CLEARBOOK_OSS_ENDPOINT: is missing"),
        ("CLEARBOOK_TABLESTORE_ENDPOINT: ", "A: ", f"{VARIABLES}.CLEARBOOK_TABLESTORE_ENDPOINT: is missing"),
        ("CLEARBOOK_TABLESTORE_INSTANCE: ", "A: ", f"{VARIABLES}.CLEARBOOK_TABLESTORE_INSTANCE: is missing"),
        ("CLEARBOOK_REGION: ${vars.region}", "CLEARBOOK_REGION: ''", f"{VARIABLES}.CLEARBOOK_REGION: '' cannot be"),
        ("${env('CLEARBOOK_OSS_ENDPOINT', '')}", "${env('OSS_ENDPONT', '')}",
         f"{VARIABLES}.CLEARBOOK_OSS_ENDPOINT: '' cannot be used"),
        ("${vars.buckets}-inbox", "${vars.buckets}-inbx",
         "confirm_payouts.props.triggers: answered's bucket 'clearbook-inbx' in sourceArn cannot be used"),
    ],
)  # fmt: skip
def test_what_the_product_could_not_run_with_is_not_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    monkeypatch.delenv("CLEARBOOK_BUCKET_PREFIX", raising=False)
    monkeypatch.setenv("CLEARBOOK_OSS_ENDPOINT", "https://oss.example")
    text = (ROOT / "s.yaml").read_text()
    path = tmp_path / "s.yaml"
    path.write_text(text)
    deploying.checked(path=path)
    assert old in text
    path.write_text(text.replace(old, new))

    with pytest.raises(TemplateError) as refused:
        deploying.checked(path=path)
    assert [problem for problem in refused.value.problems if said in problem], refused.value


def test_the_product_can_be_deployed_before_its_endpoints_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*deploying.SETTINGS, *deploying.ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)

    deployed = yaml.safe_load((ROOT / "s.yaml").read_bytes())["resources"]
    assert set(deploying.checked().functions) == set(deployed)
