"""A character n-gram model: what a language model has to beat."""

from __future__ import annotations

import math
from collections import Counter


def witten_bell_bits(train: str, text: str, order: int) -> float:
    """Bits per character of `text` under an n-gram model of the order with interpolated Witten-Bell smoothing.

    p_j(c | h) = (count(h c) + distinct(h) p_(j-1)(c | h without its first)) / (count(h) + distinct(h))  for histories
    h of j = 0 ... order - 1 characters, down to the uniform distribution over the characters of both texts; an unseen
    history passes the shorter one's on. The first characters of `text` see the end of `train`.
    Source: Witten and Bell 1991, IEEE Transactions on Information Theory 37(4), method C; Chen and Goodman 1998.
    """
    grams = [Counter(train[i : i + n] for i in range(len(train) - n + 1)) for n in range(1, order + 1)]
    totals: list[Counter[str]] = [Counter() for _ in grams]
    distinct: list[Counter[str]] = [Counter() for _ in grams]
    for total, kinds, counts in zip(totals, distinct, grams, strict=True):
        for gram, count in counts.items():
            total[gram[:-1]] += count
            kinds[gram[:-1]] += 1
    uniform = 1 / len(set(train) | set(text))
    joined = train[len(train) - order + 1 :] + text
    bits = 0.0
    for end in range(order, len(joined) + 1):
        p = uniform
        for n, (total, kinds, counts) in enumerate(zip(totals, distinct, grams, strict=True), start=1):
            gram = joined[end - n : end]
            if not (seen := total[gram[:-1]]):
                break  # longer histories are unseen as well
            p = (counts[gram] + kinds[gram[:-1]] * p) / (seen + kinds[gram[:-1]])
        bits -= math.log2(p)
    return bits / len(text)
