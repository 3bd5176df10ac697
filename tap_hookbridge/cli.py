"""The command ``hookbridge-exports``."""

from __future__ import annotations

from dataclasses import replace

from filetap.people.cli import COMMANDS, Entry, Program, people_program

main = people_program(
    Program(
        tool="hookbridge-exports",
        vendor="HookBridge",
        distribution="tap-firstup-dde",
        tap="tap_hookbridge.tap:TapHookBridge",
        commands={
            **COMMANDS,
            "doctor": replace(COMMANDS["doctor"], maker="tap_hookbridge.checks:doctor"),
            "emulate": Entry(
                "tap_hookbridge.emulate:emulate_command",
                "Serve an emulated HookBridge with sample data until interrupted.",
            ),
        },
    )
)
