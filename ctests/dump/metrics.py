#!/usr/bin/env python3
"""metrics.py FILE: the file is OpenMetrics text, by the grammar of OpenMetrics 1.0 and its rules for each type.

prometheus_client's parser reads it too, where that is installed; if not, this is said.
"""
import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
NUMBER = r"[+-]?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|Inf)"
DESCRIPTION = re.compile(rf"# (TYPE|UNIT|HELP) ({NAME}) (.+)$")
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL})(?:,{LABEL})*)?\}})? ({NUMBER})$")
SUFFIXES = {"gauge": [""], "counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "summary": ["_count", "_sum"]}


class Wrong(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Wrong(what)


def labels_of(text):
    found = [label.split("=", 1) for label in re.findall(LABEL, text or "")]
    need(len(dict(found)) == len(found), f"a label twice: {text}")
    return tuple(sorted(map(tuple, found)))


class Family:
    def __init__(self, name):
        self.name, self.described, self.samples = name, {}, {}

    def describe(self, what, text):
        need(not self.samples and what not in self.described, f"{what} of {self.name} is late or there twice")
        need(what != "TYPE" or text in SUFFIXES, f"unknown type {text}")
        need(what != "UNIT" or self.name.endswith("_" + text), f"{self.name} does not end with its unit {text}")
        self.described[what] = text

    def add(self, name, labels, value):
        suffixes = SUFFIXES[self.described["TYPE"]]
        need(name[len(self.name):] in suffixes, f"{name} in a {self.described['TYPE']} {self.name}")
        need((name, labels) not in self.samples, f"twice: {name} {labels}")
        need(self.described["TYPE"] == "gauge" or value >= 0, f"{name} is negative")
        self.samples[name, labels] = value

    def check(self):
        need(set(self.described) >= {"TYPE", "HELP"}, f"{self.name} is not described")
        if self.described["TYPE"] == "histogram":
            self.check_histogram()

    def check_histogram(self):
        buckets = {}
        for (name, labels), value in self.samples.items():
            if name.endswith("_bucket"):
                limit = dict(labels)["le"].strip('"')
                others = tuple(label for label in labels if label[0] != "le")
                buckets.setdefault(others, []).append((float(limit), value))
        for labels, found in buckets.items():
            need(found == sorted(found) and len({limit for limit, _ in found}) == len(found), f"limits of {self.name}: {found}")
            need([count for _, count in found] == sorted(count for _, count in found), f"counts of {self.name}: {found}")
            need(found[-1][0] == float("inf"), f"{self.name} has no +Inf")
            need(self.samples[self.name + "_count", labels] == found[-1][1], f"_count of {self.name} is not that of +Inf")


def families_of(text):
    need(text.endswith("# EOF\n"), "no # EOF at the end")
    families, family = {}, None
    for line in text.removesuffix("# EOF\n").split("\n")[:-1]:
        if described := DESCRIPTION.match(line):
            what, name, rest = described.groups()
            if family is None or family.name != name:
                need(name not in families, f"{name} is not in one piece")
                family = families[name] = Family(name)
            family.describe(what, rest)
        else:
            sample = SAMPLE.match(line)
            need(sample and family, f"no sample: {line!r}")
            family.add(sample[1], labels_of(sample[2]), float(sample[3]))
    for family in families.values():
        family.check()
    return families


def check_checker():
    """The checker itself can say no."""
    head = "# TYPE a_seconds histogram\n# HELP a_seconds h\n"
    right = head + 'a_seconds_bucket{le="1.0"} 1\na_seconds_bucket{le="+Inf"} 2\na_seconds_count 2\na_seconds_sum 3.0\n# EOF\n'
    families_of(right)
    for old, new in [("# EOF\n", ""), ("} 1\n", "} 3\n"), ("_count 2", "_count 1"), ("histogram", "gauge"), ('"1.0"', '"1"0"'),
                     ("# HELP a_seconds h\n", ""), ("_sum 3.0", "_sum three"), ('le="+Inf"', 'le="2.0"'), ("_sum", "_sun")]:
        try:
            families_of(right.replace(old, new))
        except Wrong:
            continue
        sys.exit(f"the checker takes {new!r} in place of {old!r}")


def main():
    check_checker()
    with open(sys.argv[1], encoding="utf-8", newline="") as file:
        text = file.read()
    try:
        families_of(text)
    except Wrong as wrong:
        sys.exit(f"no OpenMetrics: {wrong}\n{text}")
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
    except ImportError:
        print("not run: the parser of prometheus_client, which is not installed")
        return
    print(f"prometheus_client reads {len(list(text_string_to_metric_families(text)))} families")


main()
