"""The group of commands serves any vendor, and loads a command when it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from filetap.people.cli import COMMANDS, Entry, Program, people_program
from tap_firstup_dde.cli import main

if TYPE_CHECKING:
    from click.testing import Result


def count_command(program: Program) -> click.Command:
    """A command of the vendor's own."""
    return click.Command(
        "count", callback=lambda: click.echo(len(program.load_tap().vendor.streams))
    )


TOYS = people_program(
    Program(
        tool="toys-exports",
        vendor="Toys",
        distribution="tap-firstup-dde",
        tap="tests.toys:TapToys",
        commands={**COMMANDS, "count": Entry(f"{__name__}:count_command", "Count the streams.")},
    )
)


@pytest.fixture(autouse=True)
def delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with one file, and settings for reading it."""
    monkeypatch.chdir(tmp_path)
    Path("toys/2026-05-14").mkdir(parents=True)
    Path("toys/2026-05-14/a.csv").write_text("id,pieces\n1,100\n2,200\n")
    Path("config.json").write_text(json.dumps({"folder": {"url": str(tmp_path / "toys")}}))


def toys(*arguments: str, **options: Any) -> Result:
    """Run the vendor's program."""
    return CliRunner().invoke(TOYS, [*arguments, "--config", "config.json"], **options)


def test_files_of_another_vendor() -> None:
    """`files` and `get` need only the tap: a file that stays does not expire."""
    (entry,) = json.loads(toys("files", "--output", "json").stdout)
    assert (entry["stream"], entry["expires_at"], entry["file_name"]) == ("toys", None, "a.csv")
    done = toys("get", "--all", "--to", "here")
    assert Path(done.stdout.strip()).read_bytes() == Path("toys/2026-05-14/a.csv").read_bytes()
    done = toys("get", "0123456789ab")
    assert "see toys-exports files" in done.stderr


def test_doctor_of_another_vendor() -> None:
    """`doctor` has steps for a vendor without steps of its own."""
    done = toys("doctor", "--bundle", "bundle.json")
    assert done.exit_code == 0, done.output
    checks = json.loads(Path("bundle.json").read_text())["checks"]
    details = {check["name"]: check["detail"] for check in checks}
    assert [name for name in details if details[name].startswith("no ")] == [
        "pending",
        "meltano.yml",
    ]
    assert details["rows"] == "2 toys, in the newest file of each stream"
    assert details["types"] == "toys 1 string, 1 integer (key id), by these files"


def test_report_of_another_vendor() -> None:
    """`report` has the vendor's name in its file name, and no section that the vendor lacks."""
    assert toys("report").stdout.strip() == "toys-report.html"
    page = Path("toys-report.html").read_text()
    assert "<td>2</td>" in page  # rows
    assert "ngagement" not in page
    assert "irstup" not in page


def test_command_of_another_vendor() -> None:
    """A vendor may add commands, which are loaded when they are used."""
    assert "  count   Count the streams.\n" in CliRunner().invoke(TOYS, ["--help"]).stdout
    assert CliRunner().invoke(TOYS, ["count"]).stdout == "1\n"


@pytest.mark.parametrize("name", main.program.commands)
def test_summary(name: str) -> None:
    """The list of commands says what a command's own help says first."""
    command = main.get_command(click.Context(main), name)
    assert command
    assert (command.help or "").startswith(main.program.commands[name].summary)


def test_completion_is_light() -> None:
    """A shell completes the commands with their descriptions, without loading any."""
    program = people_program(main.program)
    found = ShellComplete(program, {}, "firstup-dde", "_X").get_completions([], "")
    names = {item.value: item.help for item in found}
    assert names == {name: entry.summary for name, entry in main.program.commands.items()}
    assert not program.commands
