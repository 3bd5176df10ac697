"""The command ``tap-userpilot``, and ``python -m tap_userpilot``."""

from filetap.singer.main import run_program


def main() -> None:
    """Run the tap."""
    run_program("tap_userpilot.tap:TapUserpilot")


if __name__ == "__main__":
    main()
