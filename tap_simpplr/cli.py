"""The command ``simpplr-exports``."""

from __future__ import annotations

from dataclasses import replace

from filetap.people.cli import COMMANDS, Entry, Program, people_program

main = people_program(
    Program(
        tool="simpplr-exports",
        vendor="Simpplr",
        distribution="tap-firstup-dde",
        tap="tap_simpplr.tap:TapSimpplr",
        commands={
            **COMMANDS,
            "doctor": replace(COMMANDS["doctor"], maker="tap_simpplr.checks:doctor"),
            "registrations": Entry(
                "tap_simpplr.registrations:registrations_command",
                "List what Simpplr exports, or change it.",
            ),
            "full-load": Entry(
                "tap_simpplr.registrations:full_load_command",
                "Ask Simpplr for complete files.",
            ),
            "emulate": Entry(
                "tap_simpplr.emulate:emulate_command",
                "Serve an emulated Simpplr with sample data until interrupted.",
            ),
        },
    )
)
