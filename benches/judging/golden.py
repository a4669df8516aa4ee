#!/usr/bin/env python3
"""Makes golden.json: what an independent implementation says about the statistics in use.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install scipy
    /tmp/golden/bin/python benches/judging/golden.py > benches/judging/golden.json
"""

import json
import random

import numpy as np
from scipy import special, stats

random.seed(1)

SAMPLES = [
    ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]),
    ([4.0, 5.0, 6.0], [1.0, 2.0, 3.0]),
    ([0.0, 0.0, 1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 1.0]),
    ([0.01] * 9 + [0.5], [0.0] * 20 + [0.01] * 7),
    ([random.gauss(0.3, 1.0) for _ in range(12)], [random.gauss(0.0, 1.0) for _ in range(36)]),
    (
        [float(random.randint(0, 4)) for _ in range(60)],
        [float(random.randint(0, 3)) for _ in range(180)],
    ),
]


def mann_whitney():
    for first, second in SAMPLES:
        test = stats.mannwhitneyu(first, second, alternative="greater", method="asymptotic")
        yield {"first": first, "second": second, "p": test.pvalue}


def normal_tail():
    for z in [-6.0, -1.0, 0.0, 0.1, 1.644853627, 2.9, 3.0, 3.1, 5.0, 8.0, 20.0]:
        yield {"z": z, "p": stats.norm.sf(z)}


def log_odds_over():
    for total, failed, limit in [
        (20, 4, 0.05),
        (100, 10, 0.05),
        (100, 100, 0.05),
        (100_000, 600, 0.005),
        (7, 7, 0.5),
        (1000, 49, 0.05),
    ]:
        share = failed / total
        nats = total * (special.rel_entr(share, limit) + special.rel_entr(1 - share, 1 - limit))
        yield {
            "total": total,
            "failed": failed,
            "limit": limit,
            "nats": nats if share > limit else 0.0,
        }


def surely_over():
    """The exact tails to both sides of where 95 % confidence begins."""
    for total, limit in [
        (20, 0.05),
        (100, 0.05),
        (1000, 0.05),
        (10_000, 0.05),
        (200, 0.005),
        (500, 0.005),
        (5000, 0.005),
        (100_000, 0.005),
    ]:
        failed = np.arange(total + 1)
        tails = stats.binom.sf(failed - 1, total, limit)
        yield {"total": total, "limit": limit, "least": int(np.argmax(tails <= 0.05))}


ALTERNATIVES = [(2.0, 0.12), (4.0, 0.13), (10.0, 0.35), (100.0, 0.40)]


def mixture():
    for factor, new, old in [
        (1.0, (100, 5), (300, 1)),
        (1.0, (100, 5), (300, 15)),
        (3.0, (1000, 40), (3000, 12)),
        (1.0, (50, 50), (3, 0)),
        (1.0, (100_000, 300), (300_000, 300)),
    ]:
        errors = new[1] + old[1]
        rho = factor * new[0] / (factor * new[0] + old[0])
        terms = []
        for ratio, weight in ALTERNATIVES:
            theta = ratio * rho / (ratio * rho + 1 - rho)
            better = stats.binom.logpmf(new[1], errors, theta)
            terms.append(np.log(weight) + better - stats.binom.logpmf(new[1], errors, rho))
        nats = special.logsumexp(terms)
        yield {"factor": factor, "new": new, "old": old, "nats": float(nats)}


def poisson():
    for mean in [0.03, 3.0, 11.9, 12.1, 40.0, 5000.0]:
        counts = [int(stats.poisson.ppf(share, mean)) for share in [0.1, 0.5, 0.9, 0.999]]
        yield {"mean": mean, "cdf": [[count, stats.poisson.cdf(count, mean)] for count in counts]}


def gamma():
    for shape in [0.5, 2.0]:
        at = [0.1, 1.0, 4.0]
        yield {
            "shape": shape,
            "cdf": [[x, stats.gamma.cdf(x, shape, scale=1.0 / shape)] for x in at],
        }


GROUPS = [mann_whitney, normal_tail, log_odds_over, surely_over, mixture, poisson, gamma]
print(json.dumps({group.__name__: list(group()) for group in GROUPS}, indent=1))
