"""Counts and texts as sentences and tables of a report have them."""

LETTERS = 220  # of a text in a table or at a point


def plural(count: int, one: str, many: str | None = None) -> str:
    """The count with its noun: no rows, 1 row, 2 rows."""
    number = f"{count:,}" if count else "no"
    return f"{number} {one if count == 1 else many or one + 's'}"


def folded(name: str, most: int) -> str:
    """The name in one line, shortened in the middle: long names of one table often begin alike."""
    name = " ".join(name.split())
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def short(text: str, most: int = LETTERS) -> str:
    """The text in one line of at most so many letters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
