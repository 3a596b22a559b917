"""A Predictor for many clients at once: one thread tokenizes, another computes in batches."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np

from bertjax.data.tokens import Pieces, joined
from bertjax.serving.batcher import Batcher, Closed, QueueFull
from bertjax.serving.errors import ApiError, not_ready, overloaded, stopping
from bertjax.serving.metrics import ModelMetrics
from bertjax.serving.occlusion import Word, occlusions, passes_within_budget, words_read
from bertjax.serving.predictor import Prediction, Predictions, Predictor
from bertjax.serving.programs import Programs
from bertjax.serving.settings import Limits

_TEXTS = 32  # that are tokenized in one turn
_SHORT = 2000  # characters that are tokenized sooner than another thread begins


class Explanation(NamedTuple):
    """What the words of a text did for its label."""

    prediction: Prediction
    words: list[Word]  # those that were read, or groups of them
    words_at_once: int  # in a group


class Service:
    """Answers from a predictor, whose programs are compiled before the first.

    What is asked before `classifier` is compiled, or when too many texts wait, raises an ApiError;
    what is embedded waits for `embedder`. Whoever asks bounds the time, and cancels.
    """

    def __init__(
        self,
        predictor: Predictor,
        limits: Limits,
        metrics: ModelMetrics,
        alone: AbstractContextManager | None = None,
    ):
        self.predictor = predictor
        self.limits = limits
        self.metrics = metrics
        self._alone = alone or threading.Lock()  # two programs at once would share the cores
        self._tokenizer = ThreadPoolExecutor(1, "tokenizer")
        self._tokenizing = threading.Lock()  # a fast tokenizer is not for two threads at once
        self._classifier = self._batcher(predictor.classifier)
        self._embedder = self._batcher(predictor.embedder, begun=False)
        self._ready = threading.Event()
        self._stopped = threading.Event()
        self._arriving = 0  # texts that are being tokenized, or wait for it
        metrics.watch(lambda: self._classifier.waiting + self._embedder.waiting, lambda: self.ready)

    @property
    def ready(self) -> bool:
        """Whether predictions are answered, without compiling anything."""
        return self._ready.is_set()

    @property
    def embeds(self) -> bool:
        """Whether embeddings are, too."""
        return self._embedder.begun

    @property
    def works(self) -> bool:
        """Whether the threads that compute are there."""
        return self._classifier.works and self._embedder.works

    def warm_up(self, ready: Callable[[], None] = lambda: None) -> None:
        """Compile what predicts, then what embeds; `ready` is called once texts are answered.

        First enough of both: a request for embeddings waits for no more than that.
        """
        try:
            # Its imports take as long as a program.
            tokenized = self._tokenizer.submit(self._tokenize, ["warm"])
        except RuntimeError:  # `close` was called
            return

        def predicts() -> None:
            tokenized.result()
            self._ready.set()
            ready()

        both = self.predictor.classifier, self.predictor.embedder
        for programs, begin in zip(both, (predicts, self._embedder.begin), strict=True):
            programs.compile_enough(self._stopped, self._alone)
            if self._stopped.is_set():
                return
            begin()
        for programs in both:
            programs.compile(self._stopped, self._alone)

    def stop(self) -> None:
        """Compile nothing more."""
        self._stopped.set()

    def close(self) -> None:
        """Answer what waits, and take nothing more."""
        self.stop()
        self._ready.clear()
        self._classifier.close()
        self._embedder.close()
        self._tokenizer.shutdown()

    async def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """A prediction a text."""
        pieces, logits = await self._computed(texts, self._classifier)
        return self.predictor.predictions(pieces, logits)

    async def probabilities(self, texts: Sequence[str]) -> Predictions:
        """As `Predictor.predict`."""
        pieces, logits = await self._computed(texts, self._classifier)
        return Predictions(self.predictor.probabilities_of(pieces, logits), pieces.truncated)

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """[N, D], as `Predictor.embed`."""
        pieces, values = await self._computed(texts, self._embedder)
        return self.predictor.embeddings(pieces, values)

    async def explain(self, text: str) -> Explanation:
        """The prediction of a text, and what each word that was read did for its label.

        The longer the text, the fewer times it is read: words are left out in groups.
        """
        self._check_open(self._classifier, 1)
        pieces = (await self._tokenized([text])).ids
        loop = asyncio.get_running_loop()
        words = await loop.run_in_executor(self._tokenizer, self._words_read, text)
        fit = min(self.limits.max_texts, self.limits.max_queue // len(pieces)) - 1
        within = passes_within_budget(sum(map(len, pieces)), self.predictor.checkpoint.config)
        groups, without, size = occlusions(text, words, max(min(fit, within), 1))
        [prediction, *others] = await self.predict([text, *without])
        label = prediction["label"]
        score = prediction["probabilities"][label]
        weights = [score - other["probabilities"][label] for other in others]
        weighed = [
            word._replace(weight=weight) for word, weight in zip(groups, weights, strict=True)
        ]
        return Explanation(prediction, weighed, size)

    def _batcher(self, programs: Programs, begun: bool = True) -> Batcher:
        return Batcher(
            programs,
            self.predictor.slots,
            self.limits.max_wait_ms / 1000,
            self.limits.max_queue,
            self.metrics.batch,
            begun,
            self._alone,
        )

    async def _tokenized(self, texts: Sequence[str]) -> Pieces:
        """The pieces of the texts; between a few of them those of other requests have a turn.

        Short ones are tokenized here, in the thread that answers, if no other tokenizes.
        """
        short = len(texts) <= _TEXTS and sum(map(len, texts)) <= _SHORT
        if short and self._tokenizing.acquire(blocking=False):
            try:
                return self.predictor.tokenize(texts)
            finally:
                self._tokenizing.release()
        loop = asyncio.get_running_loop()
        self._arriving += len(texts)
        try:
            parts = [
                await loop.run_in_executor(
                    self._tokenizer, self._tokenize, texts[start : start + _TEXTS]
                )
                for start in range(0, len(texts), _TEXTS)
            ]
        finally:
            self._arriving -= len(texts)
        return joined(parts)

    def _tokenize(self, texts: Sequence[str]) -> Pieces:
        with self._tokenizing:
            return self.predictor.tokenize(texts)

    def _words_read(self, text: str) -> list[Word]:
        with self._tokenizing:
            return words_read(self.predictor, text)

    def _check_open(self, batcher: Batcher, texts: int) -> None:
        """Refuse, before they are tokenized, texts that cannot be computed now."""
        if not self.ready:
            raise not_ready()
        if self._arriving + batcher.waiting + texts > self.limits.max_queue:
            raise overloaded(1)

    def _check_room(self, pieces: int) -> None:
        """Refuse what no waiting makes possible: windows of long texts are many."""
        if pieces > self.limits.max_queue:
            raise ApiError(
                413,
                "too_large",
                f"the texts are read in {pieces} windows, and at most {self.limits.max_queue} may "
                "wait: send fewer or shorter texts at once",
            )

    async def _computed(self, texts: Sequence[str], batcher: Batcher) -> tuple[Pieces, np.ndarray]:
        """The pieces of the texts [P], and the values [P, ...] of the batcher's function."""
        self._check_open(batcher, len(texts))
        try:
            with batcher.expecting():
                pieces = await self._tokenized(texts)
                self._check_room(len(pieces.ids))
                future = batcher.submit(pieces.ids)
            return pieces, await asyncio.wrap_future(future)
        except QueueFull:
            raise overloaded(1) from None
        except Closed:
            raise stopping() from None
