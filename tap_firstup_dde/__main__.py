"""The command ``tap-firstup-dde``, and ``python -m tap_firstup_dde``."""

import signal
import sys


def main() -> None:
    """Run the tap; a signal that comes while it is still loading ends it without a word."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    from filetap.output import set_up_output  # noqa: PLC0415 - after the signals

    set_up_output()
    from tap_firstup_dde.tap import TapFirstupDDE  # noqa: PLC0415 - takes a second

    TapFirstupDDE.cli()


if __name__ == "__main__":
    main()
