#!/usr/bin/env python3
"""Trains a small model that scores attempts, from holdfast's log. Python's standard library only.

    holdfast log DIR | train_risk_model.py --name "spring drops" --out risk-model.json

What it does, and what any other trainer has to do as well:

* takes the features from the events. They were written when the attempt was decided, so nothing in
  them was known only later. Never compute them again from the log as it is today;
* takes the label from what came of the payment afterwards: a dispute that was begun or lost, a
  review that was rejected, a card that its issuer declined are bad, a capture without any of these
  is good. What is not decided yet is left out;
* says a value for what is not known: here the mean of what is;
* writes the file that docs/risk-model.md describes.

It is logistic regression by gradient descent, with a penalty on large weights and as much weight on
all bad examples together as on all good ones: a score is thus to be compared with other scores, and
not a share of frauds. Keep a part of the log for testing the model before rules block by it:
`observe` first.
"""

import argparse
import json
import math
import sys

FORMAT = "holdfast-risk-model/1"
FEATURES_VERSION = 1


def arguments():
    parser = argparse.ArgumentParser(description="Trains a model that scores attempts.")
    parser.add_argument("--out", required=True, help="where the model is written")
    parser.add_argument("--name", help="what the model is called in events")
    parser.add_argument("--rounds", type=int, default=2000, help="steps of gradient descent")
    parser.add_argument("--penalty", type=float, default=0.01, help="on the square of weights")
    return parser.parse_args()


def examples(lines):
    """The features of each payment, and whether it turned out bad."""
    features, bad, good = {}, set(), set()
    for line in lines:
        event = json.loads(line)
        kind, purchase = event["kind"], event.get("purchase_id")
        if kind == "payment_started":
            taken = event.get("features")
            if taken and taken["version"] == FEATURES_VERSION:
                features[purchase] = {k: v for k, v in taken.items() if k != "version"}
        elif kind == "payment_captured":
            good.add(purchase)
        elif kind == "payment_declined" and event["reason"] == "declined_by_issuer":
            bad.add(purchase)
        elif kind == "dispute_opened":
            bad.add(purchase)
        elif kind == "dispute_closed" and event["outcome"] == "lost":
            bad.add(purchase)
        elif kind == "review_decided" and event["verdict"] == "rejected":
            bad.add(purchase)
    for purchase, taken in features.items():
        if purchase in bad or purchase in good:
            yield taken, purchase in bad


def scale_of(values):
    """Mean and spread of what is known; a feature that never changes says nothing."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    spread = math.sqrt(sum((value - mean) ** 2 for value in known) / len(known))
    return (mean, spread) if spread > 1e-6 else None


def probability(log_odds):
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    grown = math.exp(log_odds)
    return grown / (1 + grown)


def fit(rows, labels, rounds, penalty):
    """Intercept and weights over standardized rows."""
    bad = sum(labels)
    share = {True: 0.5 / bad, False: 0.5 / (len(labels) - bad)}
    weights, intercept, step = [0.0] * len(rows[0]), 0.0, 0.5
    for _ in range(rounds):
        slope, slopes = 0.0, [penalty * weight for weight in weights]
        for row, label in zip(rows, labels):
            found = probability(intercept + sum(w * x for w, x in zip(weights, row)))
            off = share[label] * (found - label)
            slope += off
            for place, x in enumerate(row):
                slopes[place] += off * x
        intercept -= step * slope
        weights = [weight - step * slope for weight, slope in zip(weights, slopes)]
    return intercept, weights


def main():
    options = arguments()
    known = list(examples(sys.stdin))
    labels = [label for _, label in known]
    bad = sum(labels)
    if bad == 0 or bad == len(labels):
        sys.exit(
            f"of {len(labels)} payments with features {bad} are bad: both kinds are needed; "
            "set risk.features = true and wait for outcomes"
        )
    names = [name for name in known[0][0]]
    scales = {name: scale_of([taken[name] for taken, _ in known]) for name in names}
    names = [name for name in names if scales[name]]
    if not names:
        sys.exit("no feature tells one payment from another")

    def standardized(taken):
        for name in names:
            mean, spread = scales[name]
            value = taken[name]
            yield 0.0 if value is None else (value - mean) / spread

    rows = [list(standardized(taken)) for taken, _ in known]
    intercept, weights = fit(rows, labels, options.rounds, options.penalty)
    inputs = [
        {
            "feature": name,
            "weight": round(weight, 6),
            "mean": round(scales[name][0], 6),
            "scale": max(round(scales[name][1], 6), 1e-6),
            "missing": round(scales[name][0], 6),
        }
        for name, weight in zip(names, weights)
    ]
    model = {"format": FORMAT, "features": FEATURES_VERSION, "kind": "logistic"}
    if options.name:
        model["name"] = options.name
    model["description"] = f"{len(labels)} payments, {bad} of them bad"
    model |= {"intercept": round(intercept, 6), "inputs": inputs}
    with open(options.out, "w", encoding="utf-8") as out:
        json.dump(model, out, indent=1)
        out.write("\n")
    scored = [probability(intercept + sum(w * x for w, x in zip(weights, row))) for row in rows]
    right = sum((score >= 0.5) == label for score, label in zip(scored, labels))
    print(f"{len(labels)} payments, {bad} bad; {right} on the right side of 500", file=sys.stderr)


if __name__ == "__main__":
    main()
