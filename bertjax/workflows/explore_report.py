"""The facts of `bertjax explore` as a report: sentences, pictures and tables."""

from collections.abc import Sequence

from bertjax.data.duplicates import normalise
from bertjax.data.scripts import NO_LETTERS
from bertjax.evaluation.clouds import make_cloud
from bertjax.evaluation.figures import LIGHT, Bars, Histogram, Scatter
from bertjax.evaluation.report import Fact, Report, Section, Table
from bertjax.workflows.explore_facts import Facts, Rows
from bertjax.workflows.explore_findings import find, surplus
from bertjax.workflows.wording import plural, short

_SHOWN = 10  # groups in a table
_BARS = 30  # classes and scripts in a picture
_PICTURED = len(LIGHT)  # classes that have a colour, and pictures of their words
_WORDS = 10  # in bars
_NAME = 40  # of a class in a title


def compose(facts: Facts, rows: Rows) -> Report:
    """The page of what `measure` gives."""
    data = facts["data"]
    sections = [
        _classes(facts),
        _map(facts, rows),
        _words(facts),
        _lengths(facts),
        _duplicates(facts, rows),
        _conflicts(facts, rows),
        _leakage(facts, rows),
        _scripts(facts),
        _missing(facts),
    ]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    label = "no label column" if data["label"] is None else f"label {data['label']}"
    return Report(
        title=f"What is in {data['source'].rstrip('/').rsplit('/', 1)[-1]}",
        subtitle=f"Text of {', '.join(data['text'])}; {label}. Rows are counted from 0.",
        facts=_facts(facts),
        findings_title="What to know before training",
        findings=find(facts),
        sections=tuple(section for section in sections if section),
        footer=f"bertjax explore {data['source']}; sha256 of the rows {data['fingerprint']}; "
        f"{versions}. All numbers are in report.json, the pictures in figures/.",
    )


def _facts(facts: Facts) -> tuple[Fact, ...]:
    lengths, duplicates = facts["lengths"], facts["duplicates"]
    shown = [Fact(f"{facts['data']['rows']:,}", "rows")]
    if facts["classes"] is not None:
        shown.append(Fact(f"{len(facts['classes']):,}", "classes"))
    shown.append(Fact(f"{lengths['words']['median']:,.0f}", "words in the median text"))
    if lengths["tokens"]:
        shown.append(Fact(f"{lengths['tokens']['max']:,}", "tokens in the longest text"))
    shown.append(Fact(f"{surplus(duplicates['exact']):,}", "surplus copies"))
    shown.append(Fact(f"{len(duplicates['near']):,}", "groups of near duplicates"))
    if "skipped" not in facts["leakage"]:
        found = len(facts["leakage"]["exact"]) + len(facts["leakage"]["near"])
        shown.append(Fact(f"{found:,}", "test rows seen in training"))
    return tuple(shown)


def _classes(facts: Facts) -> Section | None:
    if not facts["classes"]:
        return None
    items = list(facts["classes"].items())
    sentence = f"{plural(len(items), 'class', 'classes')} in column {facts['data']['label']}."
    if len(items) > _BARS:
        rest = items[_BARS:]
        items = [*items[:_BARS], (f"{len(rest)} other classes", sum(n for _, n in rest))]
        sentence += f" The {_BARS} most frequent are shown; all are in report.json."
    bars = Bars("classes", "Rows of each class", tuple(items), tuple(range(len(items))), True)
    return Section("classes", "Classes", (sentence,), (bars,))


def _map(facts: Facts, rows: Rows) -> Section | None:
    found = facts["map"]
    if "skipped" in found:
        return None
    names: list[str] = list(facts["classes"] or ())
    rest = len(names) - _PICTURED
    shown = names[:_PICTURED]
    number_of = {name: i for i, name in enumerate(shown)}
    labels = [rows.labels[row] if rows.labels else "" for row in found["rows"]]
    unlabelled = len(shown) + (rest > 0)
    class_of = [
        number_of.get(label, len(shown)) if label else unlabelled if names else 0
        for label in labels
    ]
    classes = [*shown, *([f"{rest} other classes"] if rest > 0 else [])]
    if not classes or unlabelled in class_of:
        classes.append("no label")
    texts = [f"row {row}: {short(rows.texts[row])}" for row in found["rows"]]
    figure = Scatter(
        "map",
        f"Sentence embeddings in two dimensions, by {found['method']}",
        tuple(found["x"]),
        tuple(found["y"]),
        tuple(classes),
        tuple(class_of),
        tuple(texts),
    )
    sentences = [
        f"Each point is a text; near ones are similar to {facts['settings']['checkpoint']}, before "
        "any training. Point at one to read it."
    ]
    if found["explained_variance"]:
        share = sum(found["explained_variance"])
        sentences.append(
            f"The plane keeps {share:.0%} of the variance, so much overlap is its own."
        )
    if len(found["rows"]) < facts["data"]["rows"] - facts["missing"]["texts"]:
        sentences.append(f"{len(found['rows']):,} texts were drawn at random.")
    return Section("map", "Map", tuple(sentences), (figure,))


def _words(facts: Facts) -> Section:
    figures = []
    for number, (name, words) in enumerate(facts["words"].items()):
        if number == _PICTURED:
            break
        title = f"Words of {short(name, _NAME)}" if name else "Words of all texts"
        if cloud := make_cloud(f"cloud-{number}", title, words, number):
            figures.append(cloud)
        if words:
            items = tuple(words[:_WORDS])
            colors = (number,) * len(items)
            figures.append(Bars(f"words-{number}", f"{title}, counted", items, colors))
    sentences = ["How often words occur, without English stop words and numbers."]
    if len(facts["words"]) > _PICTURED:
        sentences.append(f"Of the {_PICTURED} most frequent classes; all are in report.json.")
    return Section("words", "Frequent words", tuple(sentences), tuple(figures))


def _lengths(facts: Facts) -> Section:
    figures, rows, sentences = [], [], []
    for unit, found in facts["lengths"].items():
        if found is None:
            continue
        bins, limit = found["histogram"], found.get("limit")
        figures.append(
            Histogram(
                f"lengths-{unit}",
                f"Lengths in {unit}",
                unit,
                tuple(bins["edges"]),
                tuple(bins["counts"]),
                bins["beyond"],
                limit,
                f"limit {limit:,}" if limit else "",
            )
        )
        values = (found[key] for key in ("min", "median", "mean", "p95", "p99", "max"))
        rows.append((unit, *(float(value) for value in values)))
        if bins["beyond"]:
            sentences.append(
                f"The last bar of {unit} also counts {plural(bins['beyond'], 'far longer text')}."
            )
        if limit is not None:
            checkpoint = facts["settings"]["checkpoint"]
            sentences.append(
                f"The checkpoint {checkpoint} reads {limit:,} tokens, [CLS] and [SEP] included; "
                f"longer: {plural(found['over_limit'], 'text')}."
            )
    header = ("unit", "least", "median", "mean", "95%", "99%", "most")
    table = Table("Lengths of texts", header, tuple(rows))
    return Section("lengths", "Lengths", tuple(sentences), tuple(figures), (table,))


def _duplicates(facts: Facts, rows: Rows) -> Section:
    found = facts["duplicates"]
    tables = []
    if found["exact"]:
        lines = [
            (_rows(group), len(group), short(rows.texts[group[0]]))
            for group in sorted(found["exact"], key=len, reverse=True)[:_SHOWN]
        ]
        tables.append(Table("The same text", ("Rows", "Times", "Text"), tuple(lines)))
    if found["near"]:
        lines = [
            (_rows(group), "\n".join(map(short, _two_texts(rows.texts, group))))
            for group in sorted(found["near"], key=len, reverse=True)[:_SHOWN]
        ]
        header = ("Rows", "Two of the texts")
        tables.append(Table("Nearly the same text", header, tuple(lines)))
    sentences = (
        f"{plural(len(found['exact']), 'text')} more than once, apart from case, punctuation and "
        f"spaces; {plural(len(found['near']), 'group')} of texts that share at least "
        f"{found['similarity']:.0%} of their runs of five letters. {_at_most(found.values())}",
    )
    return Section("duplicates", "Duplicates", sentences, (), tuple(tables))


def _conflicts(facts: Facts, rows: Rows) -> Section | None:
    if facts["conflicts"] is None or rows.labels is None:
        return None
    tables = []
    if facts["conflicts"]:
        lines = []
        for group in facts["conflicts"][:_SHOWN]:
            labels = sorted({rows.labels[row] for row in group} - {""})
            lines.append((_rows(group), ", ".join(labels), short(rows.texts[group[0]])))
        tables.append(Table("One text, several labels", ("Rows", "Labels", "Text"), tuple(lines)))
    sentence = (
        f"{plural(len(facts['conflicts']), 'text')} with more than one label. "
        f"{_at_most([facts['conflicts']])}"
    )
    return Section("conflicts", "Label conflicts", (sentence,), (), tuple(tables))


def _leakage(facts: Facts, rows: Rows) -> Section:
    found = facts["leakage"]
    title = "Leakage from train to test"
    if "skipped" in found:
        return Section("leakage", title, (f"Not looked for: {found['skipped']}",))
    tables = []
    for kind, caption in {"exact": "The same text", "near": "Nearly the same text"}.items():
        if found[kind]:
            lines = [
                (leak["row"], leak["like"], short(rows.texts[leak["like"]]))
                for leak in found[kind][:_SHOWN]
            ]
            header = ("Test row", "Training row", "Text of the training row")
            tables.append(Table(f"{caption} in both", header, tuple(lines)))
    sentences = (
        f"{found['train_rows']:,} rows to train on, {found['test_rows']:,} to test, "
        f"{found['test']}.",
        f"{plural(len(found['exact']), 'test row')} with a text that is trained on, and "
        f"{plural(len(found['near']), 'more', 'more')} with nearly such a one. "
        + ("A score on them is too good. " if found["exact"] or found["near"] else "")
        + _at_most([found["exact"], found["near"]]),
    )
    return Section("leakage", title, sentences, (), tuple(tables))


def _scripts(facts: Facts) -> Section:
    items = list(facts["scripts"].items())[:_BARS]
    names = tuple((name if name != NO_LETTERS else "no letters at all", n) for name, n in items)
    bars = Bars("scripts", "Texts by the script of most of their letters", names, None, True)
    return Section("scripts", "Scripts", (), (bars,))


def _missing(facts: Facts) -> Section:
    columns = facts["missing"]["columns"]
    rows = facts["data"]["rows"]
    lines = tuple((name, count, 100 * count / rows) for name, count in columns.items())
    table = Table("Cells without a value", ("Column", "Empty", "Share in %"), lines)
    return Section("missing", "Missing values", (), (), (table,))


def _two_texts(texts: Sequence[str], group: Sequence[int]) -> tuple[str, str]:
    """The first text of a group, and the next that is another."""
    first = texts[group[0]]
    return first, next(texts[i] for i in group if normalise(texts[i]) != normalise(first))


def _rows(group: Sequence[int]) -> str:
    shown = ", ".join(map(str, group[:6]))
    return shown if len(group) <= 6 else f"{shown} and {len(group) - 6} more"


def _at_most(lists) -> str:
    most = max(len(one) for one in lists if isinstance(one, list))
    return f"The first {_SHOWN} are shown; all are in report.json." if most > _SHOWN else ""
