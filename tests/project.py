"""A Meltano project for one test: the repository's meltano.yml, run by the real Meltano."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from filetap.testing.warm import warm
from tests import ROOT
from tests.loaders import program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filetap.testing.warm import Started


# The end of a program that stands in for a tap: it passes on `lines` lines of the process `tap` and
# kills it; without `lines`, the process writes them itself, and is waited for.
UNTIL_CUT = """
for _ in range(lines):
    sys.stdout.buffer.write(tap.stdout.readline())
    sys.stdout.buffer.flush()
if lines:
    tap.kill()
sys.exit(tap.wait())
"""

OTHERS = ("MELTANO_", "TAP_FIRSTUP_DDE_", "TARGET_")  # settings that tests must not see


class Project:
    """The repository's meltano.yml in a folder, its plugins being what `make setup` installed.

    Attributes:
        folder: Where it is.
        description: What its meltano.yml holds.
        env: The environment that Meltano runs in.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Make a project.

        Args:
            folder: An empty folder.
            settings: Plugin → setting → value, passed as in a .env file.
        """
        self.folder = folder
        self.description: dict[str, Any] = yaml.safe_load((ROOT / "meltano.yml").read_text())
        for kind in ("extractors", "loaders"):
            for plugin in self.description["plugins"][kind]:
                del plugin["pip_url"]
                plugin["executable"] = str(
                    Path(sys.executable).with_name(plugin["name"])
                    if kind == "extractors"
                    else ROOT / ".targets" / plugin["name"] / "bin" / plugin["executable"]
                )
        self.env = {name: v for name, v in os.environ.items() if not name.startswith(OTHERS)}
        self.env |= {"MELTANO_ENVIRONMENT": "ci", "NO_COLOR": "1"}
        for plugin, values in settings.items():
            self.set(plugin, values)
        self.write()

    def write(self) -> None:
        """Write its meltano.yml again."""
        (self.folder / "meltano.yml").write_text(yaml.safe_dump(self.description))

    def plugin(self, name: str) -> dict[str, Any]:
        """A plugin's description; `write` writes its changes."""
        kinds = self.description["plugins"].values()
        return next(plugin for plugins in kinds for plugin in plugins if plugin["name"] == name)

    def set(self, plugin: str, values: Mapping[str, Any]) -> None:
        """Set a plugin's settings."""
        for name, value in values.items():
            text = value if isinstance(value, str) else json.dumps(value)
            self.env[f"{plugin}_{name}".upper().replace("-", "_")] = text

    def start(self, *arguments: str) -> Started:
        """Start Meltano as leader of its own process group, with its output in a file."""
        with (self.folder / "meltano.log").open("wb") as log:
            python = program("meltano").with_name("python")
            return warm("meltano.cli", python=str(python)).start(
                ["-c", "from meltano.cli import main; main()", *arguments],
                self.env,
                (log.fileno(), log.fileno()),
                folder=self.folder,
                leads=True,
            )

    def run(self, *arguments: str) -> int:
        """Run Meltano to its end; returns its exit status."""
        return self.start(*arguments).wait()

    @property
    def log(self) -> str:
        """The output of the last run."""
        return (self.folder / "meltano.log").read_text()
