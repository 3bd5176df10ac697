"""The command ``tap-hookbridge``, and ``python -m tap_hookbridge``."""

from filetap.singer.main import run_program


def main() -> None:
    """Run the tap."""
    run_program("tap_hookbridge.tap:TapHookBridge")


if __name__ == "__main__":
    main()
