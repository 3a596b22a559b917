"""The settings of `bertjax serve`; light to import."""

import re
from dataclasses import dataclass, field
from typing import Literal

from tyro.conf import Positional

from bertjax.errors import UserError
from bertjax.models.configs import Precision
from bertjax.serving.settings import Limits

_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class ReplicasConfig:
    """Where and by how many replicas, through Ray."""

    ray: bool = False
    """Serve by replicas on Ray, which it starts, watches and replaces."""
    replicas: str = "1"
    """How many; LEAST:MOST, as in 1:4, follows the load."""
    replica_cores: int = 1
    """Cores of each."""
    replica_gpus: float = 0.0
    """GPUs of each; 0.5: two share one; 0: it computes on CPUs."""
    ray_address: str | None = None
    """Of a running Ray cluster, as in 10.0.0.1:6379, where the replicas then stay; by default one
    is started here, and ended."""

    def replica_range(self) -> tuple[int, int]:
        """(least, most).

        Raises:
            UserError: --replicas is neither a number nor two.
        """
        match = re.fullmatch(r"([1-9]\d{0,4})(?::([1-9]\d{0,4}))?", self.replicas)
        least, most = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if least > most:
            raise UserError(f"--replicas is {self.replicas}, expected a number, or two as in 1:4")
        return least, most

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range, or for a server without Ray."""
        self.replica_range()
        if self.replica_cores < 1 or not 0 <= self.replica_gpus < 1000:
            raise UserError("--replica-cores must be at least 1, and --replica-gpus at least 0")
        if not self.ray and self != ReplicasConfig():
            raise UserError("--replicas, --replica-... and --ray-address need --ray")


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Serve a run folder over HTTP, with a page for people.

    Requests must bear the token in the environment variable BERTJAX_TOKEN, if that is set.
    """

    run: Positional[str]
    """The run folder, or any checkpoint of a text classifier; or one that MLflow knows, as
    run:ID, best:EXPERIMENT:METRIC or models:/NAME@ALIAS."""
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
    canary_share: float | None = None
    """Of the requests that --canary answers; by default 0.1."""
    tracking_uri: str | None = None
    """Store of runs that MLflow knows, as of `finetune`."""
    limits: Limits = field(default_factory=Limits)
    cluster: ReplicasConfig = field(default_factory=ReplicasConfig)

    @property
    def share(self) -> float:
        """Of the requests, that the canary answers if there is one."""
        return _SHARE if self.canary_share is None else self.canary_share

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range."""
        if not 0 <= self.port < 2**16:
            raise UserError(f"--port is {self.port}, but must be from 0 to 65535")
        if not 0 <= self.share <= 1:
            raise UserError(f"--canary-share is {self.share}, but must be from 0 to 1")
        if self.canary_share is not None and self.canary is None:
            raise UserError("--canary-share needs --canary, the run that answers this share")
        self.limits.check()
        self.cluster.check()
        if self.cluster.ray and not self.port:
            raise UserError("--port 0 is for a server without --ray: choose a port")
