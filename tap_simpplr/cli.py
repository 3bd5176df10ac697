"""The command ``simpplr-exports``."""

from __future__ import annotations

from filetap.people.cli import COMMANDS, Program, people_program

main = people_program(
    Program(
        tool="simpplr-exports",
        vendor="Simpplr",
        distribution="tap-firstup-dde",
        tap="tap_simpplr.tap:TapSimpplr",
        commands={**COMMANDS},
    )
)
