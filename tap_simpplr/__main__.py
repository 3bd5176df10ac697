"""The command ``tap-simpplr``, and ``python -m tap_simpplr``."""

from filetap.singer.main import run_program


def main() -> None:
    """Run the tap."""
    run_program("tap_simpplr.tap:TapSimpplr")


if __name__ == "__main__":
    main()
