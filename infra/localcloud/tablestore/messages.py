"""The protobuf messages of Tablestore, as the `tablestore` wheel ships them, without importing its SDK.

Only the generated definitions are used. Importing them the ordinary way would run the whole SDK first (0.4 s).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def _load(name: str) -> Any:
    package = importlib.util.find_spec("tablestore")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the message definitions come with `tablestore`; install it")
    path = Path(package.origin).parent / "protobuf" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{__name__}.{name}", path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"the installed `tablestore` has no {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pb: Any = _load("table_store_pb2")
filter_pb: Any = _load("table_store_filter_pb2")
