"""What observations usually are: their running mean and deviation."""

import numpy as np
from numpy.typing import NDArray

from pgcore.policies import Network


class RunningStatistics:
    """Mean and deviation of all observations so far, each [D] (Chan, Golub & LeVeque 1983).

    `table` holds all there is to keep, [1 + 2D]: the rows seen, their mean, their summed squared deviation from it.
    """

    def __init__(self, inputs: int) -> None:
        self.table = np.zeros(1 + 2 * inputs)

    def add(self, obs: NDArray[np.floating]) -> None:
        """Count observations [B, D] in."""
        rows, mean, squares = self.parts
        added, added_mean = len(obs), obs.mean(axis=0, dtype=np.float64)
        total, shift = rows + added, added_mean - mean
        squares += ((obs - added_mean) ** 2).sum(axis=0) + shift**2 * rows * added / total
        mean += shift * added / total
        self.table[0] = total

    @property
    def parts(self) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Rows, and views of mean and summed squared deviation, [D]."""
        mean, squares = self.table[1:].reshape(2, -1)
        return float(self.table[0]), mean, squares

    def normalise(self, *networks: Network) -> None:
        """Let networks see (x − mean) / deviation, once there is something to go by."""
        rows, mean, squares = self.parts
        if rows:
            for network in networks:
                network.normalise_by(mean, np.sqrt(squares / rows) + 1e-8)
