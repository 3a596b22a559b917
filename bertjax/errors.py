"""The one exception that stands for a mistake of the user's."""


class UserError(ValueError):
    """A mistake of the user's: one line that says what was wrong and how to mend it.

    The command line prints the line and exits with status 2; a library user catches a ValueError.
    """
