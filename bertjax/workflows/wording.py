"""Counts and texts as sentences and tables of a report have them."""

LETTERS = 220  # of a text in a table or at a point


def plural(count: int, one: str, many: str | None = None) -> str:
    """The count with its noun: no rows, 1 row, 2 rows."""
    number = f"{count:,}" if count else "no"
    return f"{number} {one if count == 1 else many or one + 's'}"


def short(text: str, most: int = LETTERS) -> str:
    """The text in one line of at most so many letters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
