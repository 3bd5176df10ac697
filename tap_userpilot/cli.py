"""The command ``userpilot-exports``."""

from __future__ import annotations

from dataclasses import replace

from filetap.people.cli import COMMANDS, Entry, Program, people_program

main = people_program(
    Program(
        tool="userpilot-exports",
        vendor="Userpilot",
        distribution="tap-firstup-dde",
        tap="tap_userpilot.tap:TapUserpilot",
        commands={
            **COMMANDS,
            "doctor": replace(COMMANDS["doctor"], maker="tap_userpilot.checks:doctor"),
            "emulate": Entry(
                "tap_userpilot.emulate:emulate_command",
                "Serve an emulated Userpilot with sample data until interrupted.",
            ),
        },
    )
)
