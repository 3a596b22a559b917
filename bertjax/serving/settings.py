"""What a server lets through, and how it batches."""

from dataclasses import dataclass

from bertjax.errors import UserError

UNLIMITED = 2**31


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of a request, and of the requests that wait."""

    max_wait_ms: float = 2.0
    """Milliseconds that a batch waits for requests that are on their way."""
    max_queue: int = 2048
    """Texts that may wait; a request that would make it more is answered 503."""
    max_body_bytes: int = 2**22
    """Of the body of a request."""
    max_texts: int = 512
    """Of a request."""
    max_characters: int = 20_000
    """Of a text."""
    timeout: float = 30.0
    """Seconds from a request's head to the beginning of its answer, its body included."""

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range."""
        for name in ("max_queue", "max_body_bytes", "max_texts", "max_characters"):
            if not 1 <= (value := getattr(self, name)) < UNLIMITED:
                raise UserError(
                    f"--{_flag(name)} is {value}, but must be from 1 to {UNLIMITED - 1}"
                )
        if not 0 <= self.max_wait_ms <= 1000:
            raise UserError(f"--max-wait-ms is {self.max_wait_ms}, but must be from 0 to 1000")
        if not 0 < self.timeout < UNLIMITED:
            raise UserError(
                f"--timeout is {self.timeout:g}, but must be above 0, and below {UNLIMITED}"
            )
        if self.max_queue < 2:  # a text, and the same without a word
            raise UserError(f"--max-queue is {self.max_queue}, but must be at least 2")
        if self.max_texts > self.max_queue:
            raise UserError(
                f"--max-texts {self.max_texts} of a request would never fit into --max-queue "
                f"{self.max_queue}: make the queue longer"
            )


def _flag(name: str) -> str:
    return name.replace("_", "-")
