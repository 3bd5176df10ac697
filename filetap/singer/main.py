"""How a tap's program starts: imports nothing heavy until signals are set."""

from __future__ import annotations

import gc
import signal
import sys
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from filetap.importing import fast_imports

if TYPE_CHECKING:
    from collections.abc import Iterator


def run_program(tap: str) -> None:
    """Run a tap's command line; a signal while it is still loading ends it silently.

    Args:
        tap: ``module:class`` of the tap. Importing it takes about a second.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    module, _, name = tap.partition(":")
    with fast_imports(), _without_joblib():
        import_module("filetap.output").set_up_output()
        program = getattr(import_module(module), name)
        gc.freeze()  # what is loaded stays
    if fault := import_module("filetap.environment").log_level_fault(program.vendor.prefix):
        # The SDK sets up its log with that level, and would end with a traceback.
        sys.exit(f"ERROR: {fault}")
    program.cli()


@contextmanager
def _without_joblib() -> Iterator[None]:
    """Let the SDK's targets, which no tap uses, do without joblib: it takes numpy to load."""
    stub: Any = ModuleType("joblib")
    stub.Parallel = stub.delayed = stub.parallel_config = None
    sys.modules.setdefault("joblib", stub)
    try:
        yield
    finally:
        if sys.modules.get("joblib") is stub:
            del sys.modules["joblib"]
