"""What in the facts of `bertjax explore` matters for training, a sentence each."""

from collections.abc import Iterator, Sequence

from bertjax.data.scripts import NO_LETTERS
from bertjax.data.splits import MIN_CLASS_ROWS
from bertjax.evaluation.report import Finding
from bertjax.workflows.explore_facts import Facts
from bertjax.workflows.wording import plural

_UNEVEN = 10  # times as many rows in the largest class as in the smallest
_FOREIGN = 0.05  # share of texts in another script than most


def find(facts: Facts) -> tuple[Finding, ...]:
    """The grave ones first."""
    found = [
        *_missing(facts),
        *_classes(facts),
        *_conflicts(facts),
        *_leakage(facts),
        *_duplicates(facts),
        *_lengths(facts),
        *_scripts(facts),
    ]
    return tuple(sorted(found, key=lambda finding: not finding.grave))


def surplus(groups: Sequence[Sequence[int]]) -> int:
    """Rows that could go if each text were kept once."""
    return sum(len(group) - 1 for group in groups)


def _missing(facts: Facts) -> Iterator[Finding]:
    rows, texts, labels = (
        facts["data"]["rows"],
        facts["missing"]["texts"],
        facts["missing"]["labels"],
    )
    if texts:
        share = f"{texts / rows:.1%}"
        yield Finding(f"{plural(texts, 'empty text')}, {share} of the rows.", True, "missing")
    else:
        yield Finding("No text is empty.", False, "missing")
    if labels:
        yield Finding(
            f"{plural(labels, 'row')} without a label: finetune leaves them out.", True, "missing"
        )


def _classes(facts: Facts) -> Iterator[Finding]:
    classes = facts["classes"]
    if classes is None:
        return
    if len(classes) < 2:
        yield Finding(
            "Fewer than two classes: nothing could be learned. Is this the label column?",
            True,
            "classes" if classes else "missing",
        )
        return
    rows = sum(classes.values())
    if len(classes) > rows / 2:
        yield Finding(
            f"{len(classes):,} classes in {rows:,} rows: is this the label column?", True, "classes"
        )
    if small := sum(count < MIN_CLASS_ROWS for count in classes.values()):
        yield Finding(
            f"{plural(small, 'class', 'classes')} with a single row: such a table cannot be split.",
            True,
            "classes",
        )
    ratio = max(classes.values()) / min(classes.values())
    advice = "; --class-weights balanced lets rare ones weigh as much" if ratio > _UNEVEN else ""
    yield Finding(
        f"The largest of {len(classes):,} classes has {ratio:,.1f} times the rows of the smallest"
        f"{advice}.",
        ratio > _UNEVEN,
        "classes",
    )


def _conflicts(facts: Facts) -> Iterator[Finding]:
    if facts["conflicts"]:
        count = plural(len(facts["conflicts"]), "text")
        yield Finding(f"{count} with more than one label.", True, "conflicts")
    elif facts["conflicts"] is not None:
        yield Finding("No text has two labels.", False, "conflicts")


def _leakage(facts: Facts) -> Iterator[Finding]:
    found = facts["leakage"]
    if "skipped" in found:
        return
    count = len(found["exact"]) + len(found["near"])
    if count:
        text = (
            f"{count:,} of {plural(found['test_rows'], 'test row')} nearly or wholly repeat a row "
            "that is trained on."
        )
        yield Finding(text, True, "leakage")
    else:
        yield Finding("No test row repeats a row that is trained on.", False, "leakage")


def _duplicates(facts: Facts) -> Iterator[Finding]:
    exact, near = (facts["duplicates"][kind] for kind in ("exact", "near"))
    if not exact and not near:
        yield Finding("No text stands there twice, not even nearly.", False, "duplicates")
        return
    text = (
        f"{plural(surplus(exact), 'surplus copy', 'surplus copies')} of texts, and "
        f"{plural(len(near), 'group')} of near duplicates."
    )
    yield Finding(text, True, "duplicates")


def _lengths(facts: Facts) -> Iterator[Finding]:
    tokens = facts["lengths"]["tokens"]
    if tokens is None:
        return
    over = tokens["over_limit"]
    if over:
        share = f"{over / facts['data']['rows']:.1%}"
        text = (
            f"{plural(over, 'text')} longer than the {tokens['limit']:,} tokens that the model "
            f"reads ({share}): the end is not read."
        )
    else:
        text = (
            f"Every text fits into the {tokens['limit']:,} tokens that the model reads; the "
            f"longest has {tokens['max']:,}."
        )
    yield Finding(text, bool(over), "lengths")


def _scripts(facts: Facts) -> Iterator[Finding]:
    scripts = {name: n for name, n in facts["scripts"].items() if name != NO_LETTERS}
    if not scripts:
        return
    main, most = next(iter(scripts.items()))
    others = sum(scripts.values()) - most
    share = others / sum(scripts.values())
    if others:
        text = f"{plural(others, 'text')} not mainly in {main} script ({share:.1%})"
        advice = ": choose a checkpoint that knows all of them." if share > _FOREIGN else "."
        yield Finding(text + advice, share > _FOREIGN, "scripts")
    else:
        yield Finding(f"All texts are in {main} script.", False, "scripts")
