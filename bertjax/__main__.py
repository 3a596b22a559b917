"""The `bertjax` command, also as `python -m bertjax`."""

import signal
import sys

from bertjax.process import collect_seldom, leave_objects, tune_malloc


def main() -> int:
    """See `bertjax.cli.main`, which is imported once the process is the one that will run it."""
    try:
        tune_malloc()
        collect_seldom()
        from bertjax.cli import main

        return main()
    except KeyboardInterrupt:  # imports take a second
        print("bertjax: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    finally:
        leave_objects()


if __name__ == "__main__":
    sys.exit(main())
