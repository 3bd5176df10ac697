"""The command ``firstup-dde``, for people."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(epilog="Example: firstup-dde emulate --port 8765")
@click.version_option(package_name="tap-firstup-dde", prog_name="firstup-dde")
def main() -> None:
    """Try Firstup's Direct Data Export without Firstup."""


@main.command(epilog="Example: firstup-dde emulate --port 8765 --generations 3 --new-every 60")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="Port on 127.0.0.1.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Picks the sample data.")
@click.option(
    "--generations",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Generations there are at the start, four hours apart.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Rows of one activities file.",
)
@click.option(
    "--parts",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Files per stream and generation.",
)
@click.option(
    "--url-ttl",
    type=click.IntRange(min=1),
    default=900,
    show_default=True,
    help="Seconds a presigned URL lives.",
)
@click.option(
    "--new-every",
    type=click.FloatRange(min=0, min_open=True),
    help="Add a generation every so many seconds.",
)
@click.option(
    "--deliver",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    help="Push files into this folder, too, as into an SFTP server.",
)
def emulate(  # noqa: PLR0913  # one per option
    *,
    port: int,
    seed: int,
    generations: int,
    rows: int,
    parts: int,
    url_ttl: int,
    new_every: float | None,
    deliver: Path | None,
) -> None:
    """Serve an emulated Firstup with sample data until interrupted.

    Prints one line of JSON once it serves: the settings that reach it. POST to
    /emulator/generations adds a generation, GET /emulator/requests counts the requests,
    DELETE /emulator/requests forgets them.
    """
    # Not above, so that help does not wait for them.
    import json  # noqa: PLC0415
    import queue  # noqa: PLC0415
    import signal  # noqa: PLC0415
    from datetime import UTC, datetime  # noqa: PLC0415

    from tap_firstup_dde.emulator import Emulator  # noqa: PLC0415
    from tap_firstup_dde.sample_data import INTERVAL  # noqa: PLC0415

    signals: queue.SimpleQueue[int] = queue.SimpleQueue()  # its put() may interrupt its get()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: signals.put(caught))
    now = datetime.now(UTC)
    newest = now - (now - datetime.min.replace(tzinfo=UTC)) % INTERVAL
    emulator = Emulator(
        port=port,
        seed=seed,
        rows=rows,
        parts=parts,
        url_ttl=url_ttl,
        deliver=deliver,
        first_generation=newest - INTERVAL * max(0, generations - 1),
    )
    try:
        emulator.start()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"cannot serve on 127.0.0.1:{port}: {reason}; try another --port"
        raise click.ClickException(message) from None
    try:
        for _ in range(generations):
            emulator.add_generation()
        click.echo(json.dumps(emulator.settings))
        click.echo(f"{len(emulator.files)} files; stop with Ctrl-C", err=True)
        while True:
            try:
                signals.get(timeout=new_every)
                break
            except queue.Empty:
                emulator.add_generation()
                click.echo("One more generation", err=True)
    finally:
        emulator.stop()
