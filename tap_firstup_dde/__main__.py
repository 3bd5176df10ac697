"""The command ``tap-firstup-dde``, and ``python -m tap_firstup_dde``."""

from filetap.singer.main import run_program


def main() -> None:
    """Run the tap."""
    run_program("tap_firstup_dde.tap:TapFirstupDDE")


if __name__ == "__main__":
    main()
