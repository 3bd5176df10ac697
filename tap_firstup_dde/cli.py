"""The command ``firstup-dde``."""

from __future__ import annotations

from dataclasses import replace

from filetap.people.cli import COMMANDS, Entry, Program, people_program

main = people_program(
    Program(
        tool="firstup-dde",
        vendor="Firstup",
        distribution="tap-firstup-dde",
        tap="tap_firstup_dde.tap:TapFirstupDDE",
        commands={
            **COMMANDS,
            "doctor": replace(COMMANDS["doctor"], maker="tap_firstup_dde.checks:doctor"),
            "report": replace(COMMANDS["report"], maker="tap_firstup_dde.engagement:report"),
            "emulate": Entry(
                "tap_firstup_dde.emulate:emulate_command",
                "Serve an emulated Firstup with sample data until interrupted.",
            ),
        },
    )
)
