# SPDX-License-Identifier: MIT
"""Few rows of choices in which any two choices of different factors meet. It must not know what a
choice means."""

import itertools
import random


def product(factors):
    """All rows of {factor: its choices}, each a {factor: choice}."""
    names = list(factors)
    return [dict(zip(names, row)) for row in itertools.product(*factors.values())]


def _pairs(row, names):
    return {(a, row[a], b, row[b]) for a, b in itertools.combinations(names, 2)}


def pairwise(factors):
    """Rows like those of product(), the same ones at each call, until each two have met."""
    names = list(factors)
    left = {(a, x, b, y) for a, b in itertools.combinations(names, 2)
            for x in factors[a] for y in factors[b]}
    rows = []
    dice = random.Random(1)
    while left:
        # begins with a pair that is missing, then takes the choice that brings most of the others
        a, x, b, y = min(left, key=lambda p: (names.index(p[0]), factors[p[0]].index(p[1]),
                                              names.index(p[2]), factors[p[2]].index(p[3])))
        row = {a: x, b: y}
        for name in sorted((n for n in names if n not in row), key=lambda n: -len(factors[n])):
            def gain(choice, name=name):
                return sum(((n, row[n], name, choice) in left) or ((name, choice, n, row[n]) in left)
                           for n in row)
            choices = list(factors[name])
            dice.shuffle(choices)  # equal gains do not all go to the first
            row[name] = max(choices, key=gain)
        row = {name: row[name] for name in names}
        left -= _pairs(row, names)
        rows.append(row)
    return rows
