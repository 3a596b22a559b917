"""How many trials of a search a cluster has room for."""

import ray

from bertjax.errors import UserError
from bertjax.workflows.tune_configs import TuneConfig


def room_for_trials(config: TuneConfig, going_on: bool = False) -> int:
    """How many trials of a search run at once.

    Args:
        going_on: the number was settled when the search began; one must fit.

    Raises:
        UserError: there is no room for as many as were asked for; Ray would wait for it.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(_room_on(node, config.trial_cores, config.trial_gpus) for node in nodes)
    wanted = 1 if going_on else max(1, config.concurrent)
    if wanted <= room:
        return min(config.concurrent or room, config.trials)
    cores, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
    each = f"--trial-cores {config.trial_cores}"
    found = f"{cores:.0f} cores"
    if config.trial_gpus:
        each += f" and --trial-gpus {config.trial_gpus:g}"
        found += f" and {gpus:.0f} GPUs"
    machines = "" if len(nodes) == 1 else f" on {len(nodes)} machines"
    raise UserError(
        f"--concurrent {wanted} trials with {each} do not fit: the cluster has {found}{machines}, "
        f"room for {room} at once"
    )


def _room_on(node: dict[str, float], cores: int, gpus: float) -> int:
    """Trials that fit on a machine; those with a share of a GPU do not reach over two."""
    fit = int(node.get("CPU", 0) // cores)
    if not gpus:
        return fit
    here = int(node.get("GPU", 0))
    on_gpus = here * int(1 / gpus + 1e-9) if gpus < 1 else int(here // gpus)
    return min(fit, on_gpus)
