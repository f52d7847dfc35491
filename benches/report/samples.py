"""The values of a run, and what is made of them: medians, and medians of the ratios within one round."""

import json
from statistics import median

from bars import BEST, BEST_FAIR

OURS = "hostcrst"
FLOORS = ("empty calls", "no lock")  # what the calls and the loop cost: nothing one could use instead
MORE_IS_BETTER = ("throughput",)


class Samples:
    def __init__(self, lines):
        self._values = {}  # row -> metric -> subject -> round -> value
        for line in lines:
            sample = json.loads(line)
            metrics = self._values.setdefault(sample["row"], {})
            subjects = metrics.setdefault(sample["metric"], {})
            subjects.setdefault(sample["subject"], {})[sample["round"]] = sample["value"]

    def rows(self):
        return list(self._values)

    def metrics(self, row):
        return list(self._values.get(row, {}))

    def subjects(self, row):
        metrics = self.metrics(row)
        return list(self._values[row][metrics[0]]) if metrics else []

    def rounds(self, row, metric, subject):
        """The value of each round."""
        return self._values.get(row, {}).get(metric, {}).get(subject, {})

    def median(self, row, metric, subject):
        values = self.rounds(row, metric, subject)
        return median(values.values()) if values else None

    def peers(self, row):
        """What one would use instead: none of our own faces."""
        return [subject for subject in self.subjects(row) if not subject.startswith(OURS) and subject not in FLOORS]

    def best_peer(self, row, metric, worst_fairness=float("inf")):
        """The peer with the best median, of those that are as fair as this; None if none is."""
        peers = [peer for peer in self.peers(row) if self.rounds(row, metric, peer)
                 and (self.median(row, "fairness", peer) or 0) <= worst_fairness]
        pick = max if metric in MORE_IS_BETTER else min
        return pick(peers, key=lambda peer: self.median(row, metric, peer)) if peers else None

    def ratios(self, row, metric, subject, against):
        """Of each round, the subject's value to that of `against`, which may be the best peer."""
        values = self.rounds(row, metric, subject)
        base = self._base(row, metric, against)
        return [value / base[number] for number, value in values.items() if base.get(number)]

    def ratio(self, row, metric, subject, against):
        ratios = self.ratios(row, metric, subject, against)
        return median(ratios) if ratios else None

    def _base(self, row, metric, against):
        if against == BEST:
            against = self.best_peer(row, metric)
        elif against == BEST_FAIR:
            against = self.best_peer(row, metric, worst_fairness=2.5)
        return self.rounds(row, metric, against)

    def floor(self, bar):
        """The measured of two calls of empty functions in our place; None where that is no limit."""
        ratios = self.ratios(bar.row, bar.metric, FLOORS[0], bar.against) if bar.against else []
        return median(ratios) if ratios else None

    def measured(self, bar):
        """What a bar is about, or None if its row was not measured."""
        if bar.against is None:
            values = list(self.rounds(bar.row, bar.metric, OURS).values())
        else:
            values = self.ratios(bar.row, bar.metric, OURS, bar.against)
        if not values:
            return None
        return median(values) if bar.take == "median" else max(values)


def meets(bar, measured, limit):
    return measured <= limit if bar.relation == "<=" else measured >= limit
