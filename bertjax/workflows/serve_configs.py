"""The settings of `bertjax serve`; light to import."""

from dataclasses import dataclass, field
from typing import Literal

from tyro.conf import Positional

from bertjax.errors import UserError
from bertjax.models.configs import Precision
from bertjax.serving.settings import Limits


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Serve a run folder over HTTP, with a page for people; BERTJAX_TOKEN makes it ask for one."""

    run: Positional[str]
    """The run folder, or any checkpoint of a text classifier."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0: all of this machine's."""
    port: int = 8000
    """Port to listen at; 0: one that is free."""
    threshold: float | None = None
    """A probability under it is answered by `other` or `uncertain`; by default the run's."""
    long_texts: Literal["truncate", "windows"] = "truncate"
    """Of texts longer than the model reads: their beginning, or the mean of windows."""
    precision: Precision = "float32"
    """Of matrix products; auto: bfloat16 where the hardware has it."""
    canary: str | None = None
    """Another run folder, which answers a share of the requests to be tried out."""
    canary_share: float = 0.1
    """Of the requests that --canary answers."""
    limits: Limits = field(default_factory=Limits)

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range."""
        if not 0 <= self.port < 2**16:
            raise UserError(f"--port is {self.port}, but must be from 0 to 65535")
        if not 0 <= self.canary_share <= 1:
            raise UserError(f"--canary-share is {self.canary_share}, but must be from 0 to 1")
        self.limits.check()
