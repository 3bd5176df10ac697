"""The recipes do what they say: each is run as its reader would run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pytest
import yaml
from packaging.requirements import Requirement
from psycopg import sql

from tap_firstup_dde.cli import main
from tests import ROOT
from tests.loaders import program
from tests.project import OTHERS, Project

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_firstup_dde.emulator import Emulator

RECIPES = ROOT / "recipes"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = yaml.safe_load((RECIPES / "github-actions" / "elt.yml").read_text())
USERS = yaml.safe_load((RECIPES / "github-actions" / "meltano.yml").read_text())
CRONJOB = yaml.safe_load((RECIPES / "kubernetes" / "cronjob.yaml").read_text())
BIN = Path(sys.executable).parent


class Channel:
    """A chat channel behind a webhook.

    Attributes:
        url: Its webhook.
        messages: What was posted.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        channel = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = 200 if self.path == "/secret-hook" else 404
                if status == 200:
                    channel.messages.append(json.loads(body)["text"])
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-hook"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def channel() -> Iterator[Channel]:
    """A channel without messages."""
    found = Channel()
    yield found
    found.server.shutdown()
    found.server.server_close()


def environment(settings: Mapping[str, Any], **more: str) -> dict[str, str]:
    """An environment with the tap's settings and nothing else of a pipeline."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
    named = {f"TAP_FIRSTUP_DDE_{name.upper()}": str(v) for name, v in settings.items()}
    return {**env, **named, "NO_COLOR": "1", **more}


def run(
    *command: str | Path, env: Mapping[str, str], cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False
    )


def count(file: Path) -> int:
    """The number of activities in a DuckDB file."""
    with duckdb.connect(str(file), read_only=True) as connection:
        ((found,),) = connection.execute("select count(*) from firstup.activities").fetchall()
    return int(found)


# Read by every test run


def test_dockerfile() -> None:
    """The image is pinned, slim and not root's, and its health is what doctor says."""
    text = (ROOT / "Dockerfile").read_text()
    images = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert images
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", image) for image in images)
    stage = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\d+)$", stage, re.MULTILINE) == ["10001"]
    assert re.search(r'^HEALTHCHECK .*CMD \["firstup-dde", "doctor"\]$', stage, re.MULTILINE)
    assert 'ENTRYPOINT ["firstup-dde"]' in stage
    copied = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
        "targets"
    ]
    assert {*wheel["wheel"]["packages"], "pyproject.toml", "constraints.txt", "README.md"} <= copied


def test_constraints() -> None:
    """The image's versions are within the ranges of the package, and none is missing."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    pins = dict(line.split("==") for line in lines)
    extras = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *extras["load"], *extras["s3"], *extras["sftp"]]
    for requirement in map(Requirement, needed):
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(pins[requirement.name]), requirement


def test_versions() -> None:
    """Recipes, docs and the dbt package name the version that is released."""
    version = PROJECT["version"]
    (extractor,) = USERS["plugins"]["extractors"]
    assert extractor["pip_url"].endswith(f".git@v{version}")
    pod = CRONJOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"].endswith(f":{version}")
    assert f"tap-firstup-dde:{version}" in (ROOT / "Dockerfile").read_text()
    package = yaml.safe_load((ROOT / "dbt" / "dbt_project.yml").read_text())
    assert package["version"] == version
    assert f"\n## {version} (" in (ROOT / "CHANGELOG.md").read_text()
    assert f"revision: v{version}" in (ROOT / "docs" / "dbt.md").read_text()


def test_users_project() -> None:
    """The meltano.yml for users has only settings that the plugins of ours have, and their pins."""
    ours = yaml.safe_load((ROOT / "meltano.yml").read_text())["plugins"]
    for kind in ("extractors", "loaders"):
        (theirs,) = USERS["plugins"][kind]
        (own,) = (each for each in ours[kind] if each["name"] == theirs["name"])
        known = {setting["name"]: setting for setting in own["settings"]}
        for setting in theirs["settings"]:
            assert setting.items() <= known[setting["name"]].items()
        assert theirs.get("commands", {}).items() <= own.get("commands", {}).items()
        assert kind == "extractors" or theirs["pip_url"] == own["pip_url"]


def test_cronjob_arguments() -> None:
    """The container's arguments are those of a command that exists."""
    pod = CRONJOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    name, *arguments = pod["containers"][0]["args"]
    command = main.get_command(
        main.make_context("x", ["load", "--help"], resilient_parsing=True), name
    )
    assert command is not None
    options = {option for param in command.params for option in param.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= options


# Run by `make recipes`


@pytest.mark.recipes
def test_dockerfile_and_cronjob_lint(tmp_path: Path) -> None:
    """No fault is found by hadolint, and the CronJob matches the schema of Kubernetes."""
    lint = ROOT / ".targets" / "lint" / "bin"
    done = run(lint / "hadolint", ROOT / "Dockerfile", env=dict(os.environ), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    job = RECIPES / "kubernetes" / "cronjob.yaml"
    validate: list[str | Path] = [lint / "kubernetes-validate", "--strict", job]
    done = run(*validate, env=dict(os.environ), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.yaml"
    broken.write_text(job.read_text().replace("concurrencyPolicy", "concurrency"))
    assert run(*validate[:2], broken, env=dict(os.environ), cwd=tmp_path).returncode != 0


@pytest.mark.recipes
def test_image(tmp_path: Path) -> None:
    """The image is built and runs, where a Docker daemon is."""
    docker = shutil.which("docker")
    if not docker or run(docker, "info", env=dict(os.environ), cwd=tmp_path).returncode:
        pytest.skip("no Docker daemon")
    built = run(docker, "build", "--quiet", ROOT, env=dict(os.environ), cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    image = built.stdout.strip()
    done = run(docker, "run", "--rm", image, "--version", env=dict(os.environ), cwd=tmp_path)
    assert PROJECT["version"] in done.stdout


@pytest.mark.recipes
def test_cron(emulator: Emulator, channel: Channel, tmp_path: Path) -> None:
    """The script for cron loads and checks, posts a failure, and runs once at a time."""
    emulator.add_generation(rows=50)
    for file in (RECIPES / "cron" / "firstup.sh", RECIPES / "notify.py"):
        shutil.copy(file, tmp_path)
    (tmp_path / "venv").symlink_to(BIN.parent)
    settings = {f"TAP_FIRSTUP_DDE_{name.upper()}": v for name, v in emulator.settings.items()}
    settings |= {"FIRSTUP_TO": "duckdb:w.duckdb", "WEBHOOK_URL": channel.url}
    text = "".join(f"{name}={value}\n" for name, value in settings.items())
    (tmp_path / "firstup.env").write_text(text)
    env = environment({}, PYTHONPATH=str(ROOT), TAP_FIRSTUP_DDE_MAX_RETRIES="0")
    script = tmp_path / "firstup.sh"

    done = run(script, env=env, cwd=Path("/"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert count(tmp_path / "w.duckdb") == 100
    assert channel.messages == []

    emulator.add_generation(rows=50)
    emulator.fail("download", corrupt_at=50, times=None)
    done = run(script, env=env, cwd=Path("/"))
    assert done.returncode == 1
    (message,) = channel.messages
    assert message.startswith("Firstup: the load on ")
    assert "CRC64NVME" in message
    assert emulator.client_secret not in message + done.stderr
    assert count(tmp_path / "w.duckdb") == 100

    lock = ["flock", str(tmp_path / "firstup.lock"), str(script)]
    assert run(*lock, env=env, cwd=tmp_path).returncode == 75


@pytest.mark.recipes
@pytest.mark.parametrize("url", ["{}-not", "http://127.0.0.1:1/secret-hook"])
def test_notify_keeps_the_secret(url: str, channel: Channel, tmp_path: Path) -> None:
    """A webhook that does not work is one line without its URL."""
    env = environment({}, WEBHOOK_URL=url.format(channel.url))
    done = run(sys.executable, RECIPES / "notify.py", "x", env=env, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("the webhook ")
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.recipes
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="dbt-core 1.11 needs Python up to 3.13")
def test_from_an_empty_folder(tmp_path: Path) -> None:
    """The README's lines alone lead to a view for a dashboard, in ten minutes at most."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (lines,) = (block for block in blocks if block.startswith("git clone "))
    clone = re.compile(r"git clone \S+ && cd (\S+)")
    assert clone.search(lines)
    (tmp_path / "lines.sh").write_text(clone.sub(rf"git clone -q '{ROOT}' \1 && cd \1", lines))
    env = {**environment({}), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["/bin/bash", "-e", "lines.sh"],
        cwd=tmp_path,
        env={name: value for name, value in env.items() if not name.startswith("PYTHONPATH")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("\nall well\n", "Completed successfully", "Active people"):
        assert words in done.stdout


@pytest.mark.recipes
def test_meltano_commands(emulator: Emulator, tmp_path: Path) -> None:
    """`meltano invoke tap-firstup-dde:doctor` and `:files` use Meltano's settings."""
    emulator.add_generation(rows=50)
    project = Project(tmp_path, {"tap-firstup-dde": emulator.settings})
    project.env |= {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    assert project.run("invoke", "--no-install", "tap-firstup-dde:doctor") == 0, project.log
    assert "can be downloaded" in project.log
    invoke = ("invoke", "--no-install", "tap-firstup-dde:files", "--output", "json")
    assert project.run(*invoke) == 0, project.log
    assert '"activities"' in project.log


@pytest.mark.recipes
def test_github_actions(
    emulator: Emulator, database: str, channel: Channel, tmp_path: Path
) -> None:
    """The workflow's steps load, check, and post what failed, with the meltano.yml for users."""
    emulator.add_generation(rows=50)
    project = Project(tmp_path, {})
    project.description = json.loads(json.dumps(USERS))
    for kind, plugins in project.description["plugins"].items():
        (plugin,) = plugins
        del plugin["pip_url"]
        name = plugin["name"]
        plugin["executable"] = str(BIN / name if kind == "extractors" else program(name))
    project.write()
    shutil.copy(RECIPES / "notify.py", tmp_path)
    (job,) = WORKFLOW["jobs"].values()
    given = {
        "vars.STATE_URI": f"file://{tmp_path}/state",
        "vars.TAP_FIRSTUP_DDE_REGION": "us1",
        "secrets.TAP_FIRSTUP_DDE_CLIENT_ID": emulator.client_id,
        "secrets.TAP_FIRSTUP_DDE_CLIENT_SECRET": emulator.client_secret,
        "secrets.TARGET_POSTGRES_SQLALCHEMY_URL": database.replace(
            "postgresql:", "postgresql+psycopg:"
        ),
        "secrets.AWS_ACCESS_KEY_ID": "",
        "secrets.AWS_SECRET_ACCESS_KEY": "",
        "secrets.WEBHOOK_URL": channel.url,
    }

    def steps() -> dict[str, subprocess.CompletedProcess[str]]:
        """Run the steps as GitHub would, but for the installation."""
        found: dict[str, subprocess.CompletedProcess[str]] = {}
        for step in job["steps"]:
            failed = any(done.returncode for done in found.values())
            if "run" not in step or step["name"] == "Install":
                continue
            if failed != (step.get("if") == "failure()"):
                continue
            env = {**job["env"], **step.get("env", {})}
            values = {n: given[v.strip("${} ")] for n, v in env.items()}
            urls = {name: emulator.settings[name] for name in ("api_url", "auth_url")}
            more = {"PATH": f"{program('meltano').parent}:{BIN}:{os.environ['PATH']}"}
            env = environment({**urls}, **more, **values, PYTHONPATH=str(ROOT))
            shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            found[step["name"]] = run(*shell, env=env, cwd=tmp_path)
        return found

    done = steps()
    assert {name: each.returncode for name, each in done.items()} == {"Load": 0, "Check": 0}, done
    with psycopg.connect(database) as connection:
        query = sql.SQL("select count(*) from firstup.activities")
        assert connection.execute(query).fetchone() == (100,)

    emulator.client_secret = "changed"  # noqa: S105 - not a real one
    done = steps()
    assert list(done) == ["Load", "Tell the channel"]
    assert done["Load"].returncode != 0
    assert done["Tell the channel"].returncode == 0
    (message,) = channel.messages
    assert message.startswith("Firstup failed\n")
    assert given["secrets.TAP_FIRSTUP_DDE_CLIENT_SECRET"] not in message


@pytest.mark.recipes
def test_hub_entry_is_added(tmp_path: Path) -> None:
    """`meltano add --from-ref` writes the whole block of the tap into a project."""
    (tmp_path / "meltano.yml").write_text("version: 1\n")
    entry = ROOT / "docs" / "hub" / "tap-firstup-dde.yml"
    add = "add tap-firstup-dde --plugin-type extractor --no-install --from-ref".split()
    done = run(program("meltano"), *add, entry, env=environment({}), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (added,) = yaml.safe_load((tmp_path / "meltano.yml").read_text())["plugins"]["extractors"]
    hub = yaml.safe_load(entry.read_text())
    assert [s["name"] for s in added["settings"]] == [s["name"] for s in hub["settings"]]


@pytest.mark.recipes
def test_airflow(emulator: Emulator, tmp_path: Path) -> None:
    """The DAG is parsed, and `airflow tasks test` runs its tasks."""
    emulator.add_generation(rows=50)
    home = tmp_path / "airflow"
    shutil.copytree(RECIPES / "airflow", home / "dags")
    env = environment(
        emulator.settings,
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__LOAD_EXAMPLES="false",
        FIRSTUP_DDE=str(BIN / "firstup-dde"),
        FIRSTUP_TO=f"duckdb:{tmp_path / 'w.duckdb'}",
        PATH=f"{ROOT / '.targets' / 'airflow' / 'bin'}:{os.environ['PATH']}",
    )
    assert run("airflow", "db", "migrate", env=env, cwd=tmp_path).returncode == 0
    parsed = run("airflow", "dags", "list-import-errors", env=env, cwd=tmp_path)
    assert "No data found" in parsed.stdout
    run("airflow", "dags", "reserialize", env=env, cwd=tmp_path)
    for task in ("load", "check"):
        done = run("airflow", "tasks", "test", "firstup", task, "2026-05-14", env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert count(tmp_path / "w.duckdb") == 100


@pytest.mark.recipes
def test_dagster(emulator: Emulator, tmp_path: Path) -> None:
    """The asset is materialised with its numbers; a failure is the error's one line."""
    emulator.add_generation(rows=50)
    env = environment(
        emulator.settings,
        DAGSTER_HOME=str(tmp_path),
        FIRSTUP_DDE=str(BIN / "firstup-dde"),
        FIRSTUP_TO=f"duckdb:{tmp_path / 'w.duckdb'}",
    )
    file = RECIPES / "dagster" / "firstup_assets.py"
    dagster = ROOT / ".targets" / "dagster" / "bin" / "dagster"
    command: list[str | Path] = [
        dagster,
        "asset",
        "materialize",
        "--select",
        "firstup_tables",
        "-f",
        file,
    ]
    done = run(*command, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 files, 128 rows" in done.stdout + done.stderr
    assert count(tmp_path / "w.duckdb") == 100
    env["TAP_FIRSTUP_DDE_CLIENT_SECRET"] = "wrong"  # noqa: S105 - not a real one
    assert run(*command, env=env, cwd=tmp_path).returncode != 0
