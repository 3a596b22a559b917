"""The `bertjax` command, also as `python -m bertjax`."""

import sys

from bertjax.process import tune_malloc


def main() -> int:
    """See `bertjax.cli.main`, which is imported once the process is the one that will run it."""
    tune_malloc()
    from bertjax.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
