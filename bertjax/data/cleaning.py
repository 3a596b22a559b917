"""Text cleaning of the kind used before bag-of-words models; an option, off for BERT by default.

Stop words stand here, so no corpus is downloaded. Only stemming needs NLTK, whose import costs
about 4 s whichever part of it is asked for.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

_STOP_WORDS = """
a about above after again against all am an and any are as at be because been before being
below between both but by can could did do does doing down during each few for from further
had has have having he her here hers herself him himself his how i if in into is it its itself
just me more most my myself no nor not now of off on once only or other our ours ourselves out
over own same shall she should so some such than that the their theirs them themselves then
there these they this those through to too under until up very was we were what when where
which while who whom why will with would you your yours yourself yourselves
i'm you're we're they're i've you've we've they've i'll you'll he'll she'll it'll we'll they'll
i'd you'd he'd she'd we'd they'd ain't aren't can't couldn't didn't doesn't don't hadn't hasn't
haven't isn't mustn't needn't shan't shouldn't wasn't weren't won't wouldn't
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

_URL = re.compile(r"(?:https?://|www\.)\S+")


def clean_texts(texts: Sequence[str], stem: bool = False) -> list[str]:
    """`clean_text` of each text; with `stem`, each word is cut to its Porter stem."""
    cleaned = [clean_text(text) for text in texts]
    if not stem:
        return cleaned

    from nltk.stem.porter import PorterStemmer

    stem_of = cache(PorterStemmer().stem)
    return [" ".join(map(stem_of, text.split())) for text in cleaned]


def clean_text(text: str) -> str:
    """Lowercase words of letters and digits in any script, without URLs and English stop words.

    "Don't miss https://a.b: BERT's 2nd talk!" -> "miss bert 2nd talk"
    """
    text = _URL.sub(" ", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    text = "".join(letter if _belongs_to_word(letter) else " " for letter in text)
    words = (word.strip("'").removesuffix("'s") for word in text.split())
    kept = (word for word in words if word not in STOP_WORDS and any(map(str.isalnum, word)))
    return " ".join(" ".join(kept).replace("'", " ").split())


@cache
def _belongs_to_word(letter: str) -> bool:
    """Letters, numbers, the marks that many scripts put on letters, and the apostrophe."""
    return letter == "'" or unicodedata.category(letter)[0] in "LNM"
