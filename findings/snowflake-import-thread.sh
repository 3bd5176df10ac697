#!/usr/bin/env bash
# snowflake-connector-python 4.8.1: importing it starts a thread that imports more modules.
# The import statement returns before it has ended; a process that forks then may wait in its child for
# an import lock that the thread held.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet snowflake-connector-python==4.8.1
cat >"$work/try.py" <<'PYTHON'
import importlib.metadata
import sys
import threading

started = []
start = threading.Thread.start


def noted(thread):
    """Note a thread, and start it."""
    started.append(thread)
    start(thread)


threading.Thread.start = noted
import snowflake.connector

print("snowflake-connector-python", importlib.metadata.version("snowflake-connector-python"))
for thread in started:
    print(f"import snowflake.connector started a thread: {thread.name}, daemon: {thread.daemon}")
    thread.join()
sys.exit(0 if len(started) == 1 else "The behaviour has changed.")
PYTHON
"$work/venv/bin/python" "$work/try.py"
