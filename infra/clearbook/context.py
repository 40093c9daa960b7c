"""Where a command works: the cloud of the environment, or a local one by its home folder; and what time it is."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from infra.clearbook.people import OWNER, SEEDED
from infra.localcloud import common
from infra.localcloud.cloud import LocalCloud, has_ended
from infra.localcloud.cloud import start as start_cloud
from infra.localcloud.faults.plan import Plan
from infra.localcloud.issuer.wire import AUDIENCE
from shared.bootstrap import build_services
from shared.errors import SettingError
from shared.services import Services

ROOT = Path(__file__).resolve().parents[2]
DEMO_HOME = Path(".clearbook/demo")
BUCKET_PREFIX = "clearbook"
_ENVIRONMENT = "environment.json"
# A month that is played has three thousand quarters of an hour; this is all that most schedules need.
_DELIVER_TIMER = "CRON_TZ=Asia/Shanghai 0 30 8,20 * * *"


def start_local(
    home: Path, *, instances: int = 4, describe_qps: int = 10, faults: Plan | None = None, bundled: bool = False
) -> LocalCloud:
    """Start the local cloud over `home` with this project's functions, and note how commands reach it.

    With `bundled` they run from the code directories that s.yaml deploys, which must be there, and nothing else.
    """
    home = home.resolve()
    secrets = home / "secrets.json"
    if not secrets.exists():
        home.mkdir(parents=True, exist_ok=True)
        common.write_atomically(secrets, json.dumps({"webhooks": {"master": _master()}}).encode(), mode=0o600)
    settings = {
        "CLEARBOOK_BUCKET_PREFIX": BUCKET_PREFIX,
        "CLEARBOOK_SECRETS": f"file:{secrets}",
        "CLEARBOOK_BSS_CALLS_PER_S": str(describe_qps),
        "CLEARBOOK_OIDC_AUDIENCE": AUDIENCE,
        "CLEARBOOK_OWNER": OWNER,
        "CLEARBOOK_DELIVER_TIMER": os.environ.get("CLEARBOOK_DELIVER_TIMER") or _DELIVER_TIMER,
        **_scratch(home),
        "CLEARBOOK_THREADS": "1",  # here the functions share one machine's cores
    }
    code, paths = (None, []) if bundled else (ROOT / "functions", [ROOT, *map(Path, _site_packages())])
    people = [OWNER, *SEEDED]
    cloud = start_cloud(home, ROOT / "s.yaml", code, paths, settings, instances, describe_qps, faults, people)
    common.write_atomically(home / _ENVIRONMENT, json.dumps({**settings, **reach(cloud)}).encode(), mode=0o600)
    return cloud


def _master() -> str:
    """What the secrets of webhooks and the links in messages are derived from."""
    return base64.b64encode(os.urandom(32)).decode()


def _scratch(home: Path) -> dict[str, str]:
    """One folder for what functions fetch; where calls are recorded each has its own, as in the cloud, and fetches."""
    return {} if (home / "record-calls").exists() else {"CLEARBOOK_SCRATCH": str(home / "tmp")}


def reach(cloud: LocalCloud) -> dict[str, str]:
    """The settings by which anything reaches the local cloud."""
    ends = cloud.endpoints()
    return {
        "CLEARBOOK_REGION": ends["oss"]["region"],
        "CLEARBOOK_OSS_ENDPOINT": ends["oss"]["endpoint"],
        "CLEARBOOK_TABLESTORE_ENDPOINT": ends["tablestore"]["endpoint"],
        "CLEARBOOK_TABLESTORE_INSTANCE": ends["tablestore"]["instance"],
        "CLEARBOOK_BSS_ENDPOINT": ends["bss"]["endpoint"],
        "CLEARBOOK_BSS_PROTOCOL": ends["bss"]["protocol"],
        "CLEARBOOK_STS_ENDPOINT": ends["bss"]["endpoint"],
        "CLEARBOOK_STS_PROTOCOL": ends["bss"]["protocol"],
        "CLEARBOOK_RAM_ENDPOINT": ends["ram"]["endpoint"],
        "CLEARBOOK_RAM_PROTOCOL": ends["ram"]["protocol"],
        "CLEARBOOK_SLS_ENDPOINT": ends["sls"]["endpoint"],
        "CLEARBOOK_OIDC_ISSUER": ends["issuer"]["endpoint"],
        "CLEARBOOK_PORTAL": f"{ends['host']['endpoint']}/http/portal",
        "CLEARBOOK_ACCOUNT": cloud.keys.account_id,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": ends["oss"]["access_key_id"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": ends["oss"]["access_key_secret"],
    }


def environment(home: Path | None) -> Mapping[str, str]:
    """The settings a command works with: those of the local cloud at `home`, else the process's own."""
    if home is None:
        if "CLEARBOOK_OSS_ENDPOINT" in os.environ:
            return os.environ
        home = DEMO_HOME
    try:
        settings: dict[str, str] = json.loads((home / _ENVIRONMENT).read_bytes())
    except FileNotFoundError as exc:
        remedy = "start one with `clearbook local up --home DIR` or `clearbook demo --keep`, or set CLEARBOOK_*"
        raise SettingError("--home", f"names no local cloud ({home})", remedy) from exc
    except ValueError as exc:
        raise SettingError("--home", f"holds a damaged {_ENVIRONMENT} ({exc})", "start its local cloud again") from exc
    if has_ended(home):
        remedy = f"start it: clearbook local up --home {home}"
        raise SettingError("--home", f"holds a local cloud that is not up ({home})", remedy)
    # Some SDKs would ask a proxy of the environment even for loopback.
    for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
        del os.environ[name]
    return {**os.environ, **settings}


def services(home: Path | None) -> Services:
    """The services a command works with."""
    return build_services(environment(home))


def now(home: Path | None) -> datetime:
    """The time: a local cloud's own, which may have been set, else the system's."""
    if home is None and "CLEARBOOK_OSS_ENDPOINT" in os.environ:
        return datetime.now(UTC)
    return common.Clock(home or DEMO_HOME).now()


def _site_packages() -> list[str]:
    import site

    return site.getsitepackages()
