"""Make PyTorch's threads give way when somebody else needs the processor.

After its share of an operation a thread of GNU OpenMP spins until all others are done, by default
for some milliseconds. As soon as another program has one of the cores, each of thousands of small
operations waits that long: on two cores a decode step of 5 ms takes 70. A short spin, then sleep,
costs a free machine nothing.
"""

from __future__ import annotations

import os
import sys

SPINS = "4000"  # looks, about 0.05 ms; measured on 2 cores: 2,000 to 10,000 are alike


def spin_briefly() -> bool:
    """Tell GNU OpenMP so, unless the user has told it something, or PyTorch has started it.

    Whether it could be told is returned.
    """
    told = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
    if told or "torch" in sys.modules:
        return False
    os.environ["GOMP_SPINCOUNT"] = SPINS
    return True
