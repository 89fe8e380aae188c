"""Random bits that are the same in every run of a test."""

import random


class SeededEntropy:
    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)

    def bits(self, count: int) -> int:
        return self._random.getrandbits(count)

    def uniform(self) -> float:
        return self._random.random()
