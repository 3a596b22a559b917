"""The `bertjax` command, also as `python -m bertjax`."""

import sys

from bertjax.process import collect_seldom, leave_objects, tune_malloc


def main() -> int:
    """See `bertjax.cli.main`, which is imported once the process is the one that will run it."""
    tune_malloc()
    collect_seldom()
    from bertjax.cli import main

    try:
        return main()
    finally:
        leave_objects()


if __name__ == "__main__":
    sys.exit(main())
