#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# tier: soak
# timeout: 21600
"""All combinations of which test_bench_matrix has a selection, and a hundred million frames in them. It
must not know more than the counts."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from measure import MILLION
from test_bench_matrix import FACTORS, UNEQUAL, enough, matrix
from cover import product
from harness import main

FRAMES = int(os.environ.get("VHU_SOAK_FRAMES", str(100 * MILLION)))
# Of two unequal ports there are so many that one in this number has to do
STEP = 7


def test(tap):
    # 25,000 runs of a combination, many of them with a part of its frames
    frames = matrix(tap, product(FACTORS), product(UNEQUAL)[::STEP], FRAMES // 20000, FRAMES // 1000)
    tap.case("%d_frames_were_verified" % FRAMES, enough, frames, FRAMES)


if __name__ == "__main__":
    main(test)
