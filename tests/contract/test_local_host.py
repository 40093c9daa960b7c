"""The function host behaves as Function Compute does towards functions: triggers, instances, errors, repeats.

OSS is played by the tests themselves here: they write its event table, which is all the host reads of it.
"""

from __future__ import annotations

import base64
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from infra.localcloud import common, identity
from infra.localcloud.client import InvocationError
from infra.localcloud.common import LocalCloudError
from infra.localcloud.host import template
from infra.localcloud.host.instances import Launch, environment
from tests.contract.host_driver import FUNCTIONS, Host, is_running, until


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    running = Host(tmp_path / "home").start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host for the tests that leave nothing behind."""
    os.environ["ONLY_OF_THE_HOST"] = "secret"
    running = Host(tmp_path_factory.mktemp("shared") / "home").start()
    del os.environ["ONLY_OF_THE_HOST"]
    yield running
    running.stop()


def probe(host: Host) -> dict[str, Any]:
    """What a function sees of the world."""
    return dict(json.loads(host.client.invoke("probe", b"tell")))


def keys_of(host: Host) -> list[str]:
    return [event["events"][0]["oss"]["object"]["key"] for event, *_ in host.recorded()]


# What a function sees


def test_the_event_is_bytes_and_the_context_is_that_of_python_3_12(shared: Host) -> None:
    seen = probe(shared)

    assert seen["event_type"] == "bytes"
    assert seen["function"] == {
        "name": "probe", "handler": "probe.handler", "memory": 512, "timeout": 20,
        "version_id": "", "qualifier": "LATEST",
    }  # fmt: skip
    context = seen["context"]
    assert context.pop("request_id").startswith("1-")
    assert context == {
        "region": "cn-hangzhou", "account_id": "1000000000000001", "log_project": "books", "log_store": "functions",
        "logger": "None",
    }  # fmt: skip
    assert (seen["has_credentials"], seen["has_tracing"]) == (False, False)


def test_the_environment_is_the_template_the_overrides_and_nothing_of_the_host(shared: Host) -> None:
    seen = probe(shared)["environment"]
    keys = common.load_keys(shared.home)

    assert set(seen) - {"PATH", "HOME", "LC_CTYPE"} == {
        "LANG", "TZ", "TMPDIR", "GREETING", "BUCKET", "PYTHONPATH", "RECORDS", "HOME_FOLDER", "FC_FUNC_CODE_PATH",
        "FC_FUNCTION_NAME", "FC_REGION", "FC_ACCOUNT_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN",
    }  # fmt: skip
    assert (seen["GREETING"], seen["BUCKET"], seen["FC_FUNCTION_NAME"]) == ("hello", "work", "probe")
    assert seen["PYTHONPATH"] == f"{FUNCTIONS}/python"
    caller, secret = identity.caller_of(
        keys, seen["ALIBABA_CLOUD_ACCESS_KEY_ID"], seen["ALIBABA_CLOUD_SECURITY_TOKEN"], datetime.now(UTC)
    )
    assert (caller.role, caller.function) == ("host-test-probe", "probe")
    assert secret == seen["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]
    pid = (shared.home / "host" / "instances" / caller.instance).read_text()
    assert Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-3].endswith(b"runtime.py")


def test_a_function_without_a_role_has_no_credentials(shared: Host) -> None:
    functions = template.load(shared.template, FUNCTIONS, common.load_keys(shared.home), {}).functions
    launch = Launch(shared.home, (), {}, common.load_keys(shared.home))

    assert functions["record"].role == ""
    assert not [name for name in environment(functions["record"], launch, Path("tmp/x")) if "ALIBABA" in name]


def test_the_code_comes_first_on_the_path_and_nothing_is_installed_that_was_not_given(shared: Host) -> None:
    seen = probe(shared)

    assert seen["path"][0] == seen["folder"] == str(FUNCTIONS)
    assert not [path for path in seen["path"] if "site-packages" in path]


def test_a_cold_start_imports_nothing_that_the_function_did_not(host: Host) -> None:
    modules = set(probe(host)["modules"])

    assert not modules & {"json", "typing", "logging", "socket", "traceback", "dataclasses", "re", "asyncio", "site"}


def test_an_instance_is_initialized_once_and_used_again(shared: Host) -> None:
    first, second = probe(shared), probe(shared)

    assert first["pid"] == second["pid"]
    assert (second["initialized"], second["calls"] - first["calls"]) == (1, 1)


def test_output_goes_to_the_log_of_the_function_between_start_and_end(shared: Host) -> None:
    shared.client.invoke("probe", b"log")

    lines = (shared.home / "logs" / "functions" / "probe.log").read_text().splitlines()[-3:]
    request_id = lines[0].removeprefix("FC Invoke Start RequestId: ")
    assert lines[1].endswith(f"Z {request_id} [INFO] told")
    assert lines[2] == f"FC Invoke End RequestId: {request_id}"


# How functions fail


@pytest.mark.parametrize(
    ("function", "event", "message", "kind"),
    [
        ("fail", b"raise", "'no such agreement'", "KeyError"),
        ("fail", b"exit", "Process exited unexpectedly before completing request", None),
        ("fail", b"sleep", "Function time out after 1 seconds", None),
        ("fail", b"memory", "Function ran out of memory", "FunctionOOMError"),
        ("fail", b"unserialisable", "not JSON serializable", "TypeError"),
        ("broken", b"", "Unable to import module 'broken'", "ImportModuleError"),
        ("missing", b"", "Handler 'absent' is missing on module 'probe'", "HandlerNotFound"),
    ],
)
def test_an_error_is_told_as_function_compute_tells_it(
    shared: Host, function: str, event: bytes, message: str, kind: str | None
) -> None:
    with pytest.raises(InvocationError) as caught:
        shared.client.invoke(function, event)

    assert caught.value.error_type == "UnhandledInvocationError"
    assert message in caught.value.document["errorMessage"]
    assert caught.value.document.get("errorType") == kind


def test_a_failed_initializer_fails_the_invocation_and_the_next_starts_anew(shared: Host) -> None:
    for _ in range(2):
        with pytest.raises(InvocationError, match="no settings") as caught:
            shared.client.invoke("uninitialized", b"")
        assert caught.value.error_type == "InitializationError"

    assert shared.client.status()["functions"]["uninitialized"]["cold_starts"] == 2


def test_a_stack_frame_is_four_texts(shared: Host) -> None:
    with pytest.raises(InvocationError) as caught:
        shared.client.invoke("fail", b"raise")

    assert caught.value.document["stackTrace"] == [
        [f'File "{FUNCTIONS}/fail.py"', "line 11", "in handler", 'raise KeyError("no such agreement")']
    ]


def test_an_instance_that_died_or_overran_is_replaced(shared: Host) -> None:
    for event in (b"exit", b"sleep"):
        with pytest.raises(InvocationError):
            shared.client.invoke("fail", event)
        assert shared.client.invoke("fail", b"") == b"fine"


# The public side


def test_an_http_request_becomes_an_event_of_form_v1(shared: Host) -> None:
    headers = {"X-Two": "a", "User-Agent": "test/1", "Content-Type": "text/plain"}
    response, content = shared.request("POST", "/http/probe/a%20b/c?x=1&x=2&y=%C3%BC", "grüezi".encode(), headers)

    event = json.loads(content)
    context = event.pop("requestContext")
    assert response.status == 200
    assert response.getheader("Content-Type") == "application/json; charset=utf-8"
    assert set(event) == {"version", "rawPath", "body", "isBase64Encoded", "headers", "queryParameters"}
    assert (event["version"], event["rawPath"], event["body"], event["isBase64Encoded"]) == (
        "v1", "/a%20b/c", "grüezi", False,
    )  # fmt: skip
    assert event["queryParameters"] == {"x": "1,2", "y": "ü"}
    assert event["headers"]["X-Two"] == "a"
    assert set(context) == {"accountId", "domainName", "domainPrefix", "http", "requestId", "time", "timeEpoch"}
    assert context["http"] == {
        "method": "POST", "path": "/a b/c", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test/1",
    }  # fmt: skip
    assert isinstance(context["timeEpoch"], str)
    assert context["time"].endswith("Z")


def test_bytes_travel_as_base64_both_ways(shared: Host) -> None:
    _, content = shared.request("POST", "/http/probe/", b"\xff\x00")
    event = json.loads(content)
    assert (event["isBase64Encoded"], base64.b64decode(event["body"])) == (True, b"\xff\x00")

    response, content = shared.request("GET", "/http/probe/picture")
    assert (response.status, content) == (201, b"\x89PNG")
    assert (response.getheader("Content-Type"), response.getheader("X-Note")) == ("image/png", "a")


def test_a_function_has_its_own_root_under_its_own_host_name(shared: Host) -> None:
    _, content = shared.request("GET", "/d/token?x=1", headers={"Host": f"probe.localhost:{shared.port}"})

    event = json.loads(content)
    assert (event["rawPath"], event["requestContext"]["domainPrefix"]) == ("/d/token", "probe")


def test_what_is_not_a_page_has_the_status_that_says_so(shared: Host) -> None:
    statuses = [
        shared.request("DELETE", "/http/probe/")[0].status,
        shared.request("GET", "/http/record/")[0].status,
        shared.request("GET", "/http/nobody/")[0].status,
        shared.request("GET", "/http/probe/broken")[0].status,
    ]
    assert statuses == [405, 404, 404, 502]


@pytest.mark.parametrize(("method", "path"), [("GET", "/status"), ("POST", "/invoke/probe"), ("PUT", "/clock")])
def test_control_asks_for_the_token(shared: Host, method: str, path: str) -> None:
    assert shared.request(method, path)[0].status == 401
    assert shared.request(method, path, headers={"Authorization": "Bearer guess"})[0].status == 401


# OSS events


def test_only_the_keys_and_events_of_a_trigger_wake_its_function(host: Host) -> None:
    host.put("orders/1.json")
    host.put("orders/2.txt")
    host.put("other/3.json")
    host.put("orders/4.json", name="ObjectCreated:CopyObject")
    host.put("orders/5.json", bucket="elsewhere")
    host.put("orders/6.json", name="ObjectCreated:CompleteMultipartUpload")
    host.client.idle()

    assert keys_of(host) == ["orders/1.json", "orders/6.json"]
    event = host.recorded()[0][0]
    assert len(event["events"]) == 1
    assert len(event["events"][0]["oss"]["ruleId"]) == 40


def test_an_event_is_delivered_without_anybody_asking_and_not_again_after_a_restart(host: Host) -> None:
    host.put("orders/1.json")
    until(lambda: keys_of(host) == ["orders/1.json"])
    host.client.idle()
    host.stop()
    host.put("orders/2.json")
    host.start().client.idle()

    assert keys_of(host) == ["orders/1.json", "orders/2.json"]


def test_reserved_concurrency_lets_one_event_run_at_a_time_in_the_order_they_came(host: Host) -> None:
    for number in range(30):
        host.put(f"orders/{number}.json")
    host.client.idle()

    assert keys_of(host) == [f"orders/{number}.json" for number in range(30)]
    assert all(ended <= began for (_, _, _, ended), (_, _, began, _) in pairwise(host.recorded()))
    assert host.client.status()["functions"]["record"]["cold_starts"] == 1


def test_a_call_beyond_the_reserved_concurrency_is_throttled(host: Host) -> None:
    (host.records / "pause").touch()
    host.client.invoke_later("record", b"{}")
    until((host.records / "started").exists)

    with pytest.raises(LocalCloudError, match="429"):
        host.client.invoke("record", b"{}")
    (host.records / "pause").unlink()


def test_no_more_processes_are_busy_than_the_machine_is_given(tmp_path: Path) -> None:
    host = Host(tmp_path / "home", "--instances", "2").start()
    try:
        (host.records / "pause").touch()
        host.client.invoke_later("record", b"{}")
        until((host.records / "started").exists)
        callers = [threading.Thread(target=host.client.invoke, args=("probe", b"echo")) for _ in range(5)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        (host.records / "pause").unlink()

        assert host.client.status()["functions"]["probe"]["cold_starts"] == 1
    finally:
        host.stop()


@pytest.mark.parametrize(("event", "instances"), [(b"quick", {1}), (b"slow", {2, 3, 4})])
def test_another_instance_is_started_where_it_saves_more_time_than_it_takes(
    host: Host, event: bytes, instances: set[int]
) -> None:
    for _ in range(8):
        host.client.invoke_later("heavy", event)
    host.client.idle()

    assert host.client.status()["functions"]["heavy"]["cold_starts"] in instances


# Repeats


def test_a_failing_event_is_repeated_then_handed_to_its_destination(host: Host) -> None:
    host.client.invoke_later("fail", b"raise")
    counts = host.client.idle()

    status = host.client.status()
    assert counts == {"done": 1, "failed": 1, "retried": 2}
    assert status["functions"]["fail"] | {"cold_ms": 0, "busy_ms": 0, "billed_ms": 0, "cpu_ms": 0, "peak_mb": 0} == {
        "invocations": 3, "errors": 3, "retries": 2, "cold_starts": 1, "cold_ms": 0, "busy_ms": 0,
        "billed_ms": 0, "cpu_ms": 0, "peak_mb": 0,
    }  # fmt: skip
    [failure] = status["failures"]
    assert (failure["function"], failure["attempts"]) == ("fail", 3)
    [(event, *_)] = host.recorded()
    context = event["requestContext"]
    assert isinstance(event["timestamp"], int)
    assert context == {
        "requestId": failure["request_id"],
        "functionArn": "acs:fc:cn-hangzhou:1000000000000001:functions/fail",
        "condition": "UnhandledInvocationError",
        "approximateInvokeCount": 3,
    }
    assert event["requestPayload"] == "raise"
    assert event["responseContext"] == {"statusCode": 200, "functionError": "UnhandledInvocationError"}
    assert json.loads(event["responsePayload"])["errorType"] == "KeyError"


def test_a_host_killed_in_the_middle_of_an_event_delivers_it_again(host: Host) -> None:
    (host.records / "pause").touch()
    host.put("orders/1.json")
    host.put("orders/2.json")
    until((host.records / "started").exists)
    host.kill()
    (host.records / "pause").unlink()
    host.start().client.idle()

    assert keys_of(host) == ["orders/1.json", "orders/2.json"]
    assert host.client.status()["queue"] == {"pending": 0, "running": 0, "done": 2, "failed": 0}


def test_no_event_is_lost_or_taken_in_twice_however_often_the_host_is_killed(host: Host) -> None:
    seed = time.time_ns()
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - moments to kill at, not secrets
    keys = [f"orders/{number}.json" for number in range(120)]
    for key in keys:
        host.put(key)
        if chance.random() < 0.04:
            time.sleep(chance.random() / 50)
            host.kill()
            host.start()
    host.client.idle()

    assert set(keys_of(host)) == set(keys)
    assert host.client.status()["queue"] == {"pending": 0, "running": 0, "done": len(keys), "failed": 0}


def test_instances_end_with_a_host_that_was_killed(host: Host) -> None:
    pid = probe(host)["pid"]
    (host.records / "pause").touch()
    host.client.invoke_later("record", b"{}")
    until((host.records / "started").exists)
    host.kill()
    (host.records / "pause").unlink()

    # The busy one could not notice by itself; were it alive, it would write its record now.
    until(lambda: not is_running(pid))
    assert host.recorded() == []


def test_a_host_that_cannot_start_says_why(tmp_path: Path) -> None:
    host = Host(tmp_path / "home")
    host.template = tmp_path / "absent.yaml"
    with pytest.raises(LocalCloudError, match="give the project's s"):
        host.start()
