#!/usr/bin/env python3
"""Reads reports with other programs than the one that wrote them.

formats.py json SCHEMA PROGRAM   every .json of the program report_formats is valid, fits the schema, makes sense
formats.py dot PROGRAM           Graphviz reads every .dot and draws what the .json of the same situation says
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unicodedata

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
KEYWORDS = {"$schema", "$defs", "$ref", "title", "description", "type", "required", "properties", "enum", "const", "items",
            "additionalProperties", "pattern", "minimum", "minItems", "maxItems", "oneOf"}
HEADER = pathlib.Path(__file__).parents[2] / "include/hostcrst.h"
OPTIONS = sum(int(bit) for bit in re.findall(r"CONSTANT_\(WAIT_\w+, (\d+)\)", HEADER.read_text()))
UNREAD = ("many",)  # too large for Graphviz to lay out
failures = []


def fail(where, what):
    failures.append(f"{where}: {what}")


# ---- JSON in which no key stands twice, of which most readers would see the last one only ----

def without_doubles(pairs):
    keys = [key for key, _ in pairs]
    doubled = {key for key in keys if keys.count(key) > 1}
    if doubled:
        fail("JSON", f"stands twice in one object: {doubled}")
    return dict(pairs)


def load(file):
    return json.load(file, object_pairs_hook=without_doubles)


# ---- the part of JSON Schema that the schema uses ----

def validate(value, rule, root, where):
    unknown = set(rule) - KEYWORDS
    if unknown:
        fail(where, f"the schema uses {unknown}, which this validator does not know")
    if "$ref" in rule:
        name = rule["$ref"].removeprefix("#/$defs/")
        validate(value, root["$defs"][name], root, where)
    if "enum" in rule and value not in rule["enum"]:
        fail(where, f"{value!r} is none of {rule['enum']}")
    if "const" in rule and value is not rule["const"]:
        fail(where, f"{value!r} is not {rule['const']}")
    if "type" in rule:
        right = isinstance(value, TYPES[rule["type"]])
        if not right or (rule["type"] == "integer" and isinstance(value, bool)):
            fail(where, f"{value!r} is no {rule['type']}")
            return
    if isinstance(value, str) and not re.search(rule.get("pattern", ""), value):
        fail(where, f"{value!r} does not match {rule['pattern']}")
    if isinstance(value, int) and value < rule.get("minimum", value):
        fail(where, f"{value} is less than {rule['minimum']}")
    if isinstance(value, list):
        if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
            fail(where, f"it has {len(value)} items")
        for index, item in enumerate(value):
            validate(item, rule.get("items", {}), root, f"{where}[{index}]")
    if isinstance(value, dict):
        for name in rule.get("required", []):
            if name not in value:
                fail(where, f"{name} is missing")
        # Alternatives that differ in what they require.
        alternatives = rule.get("oneOf", [])
        if any(set(alternative) != {"required"} for alternative in alternatives):
            fail(where, "the schema has alternatives that this validator does not know")
        if alternatives and sum(set(alternative["required"]) <= set(value) for alternative in alternatives) != 1:
            fail(where, f"{value!r} is not exactly one of {alternatives}")
        for name, item in value.items():
            if name in rule.get("properties", {}):
                validate(item, rule["properties"][name], root, f"{where}.{name}")
            elif rule.get("additionalProperties") is False:
                fail(where, f"{name} is not in the schema")


def check_validator():
    """The validator itself can say no."""
    rule = {"type": "object", "required": ["a"], "additionalProperties": False,
            "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"enum": ["x"]},
                           "c": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^0x"}},
                           "d": {"const": True}, "e": {}}, "oneOf": [{"required": ["a"]}, {"required": ["e"]}]}
    bad = [[], {}, {"a": 0}, {"a": True}, {"a": 1, "z": 1}, {"a": 1, "b": "y"}, {"a": 1, "c": []}, {"a": 1, "c": ["1"]},
           {"a": 1, "c": [1]}, {"a": 1, "d": 1}, {"a": 1, "e": 1}]
    for value in bad:
        before = len(failures)
        validate(value, rule, rule, "validator")
        if len(failures) == before:
            sys.exit(f"the validator takes {value!r}")
        del failures[before:]
    json.loads('[{"a": 1, "a": 1}]', object_pairs_hook=without_doubles)
    if not failures:
        sys.exit("a key may stand twice")
    failures.clear()
    validate({"a": 1, "b": "x", "c": ["0x1"], "d": True}, rule, rule, "validator")


# ---- what makes sense ----

def check_task(where, task):
    kinds = [layer["kind"] for layer in task["layers"]]
    if kinds:
        if len(kinds) != min(task["depth"], 64):
            fail(where, f"{len(kinds)} of {task['depth']} layers")
        if any(a == b for a, b in zip(kinds, kinds[1:])):
            fail(where, f"layers do not alternate: {kinds}")
        if (kinds[0] == "leave") != (task["mode"] == "unmanaged"):
            fail(where, f"{task['mode']} after {kinds[0]}")
        indices = [layer["index"] for layer in task["layers"]]
        if indices != list(range(task["depth"] - 1, task["depth"] - 1 - len(kinds), -1)):
            fail(where, f"layers are numbered {indices}")
    if "waiting" in task and task["waiting"]["option"] & ~OPTIONS:
        fail(where, f"option {task['waiting']['option']}")


def check_section(where, section):
    owned = section["state"] == "owned"
    if owned != ("owner" in section) or owned != (section["recursion"] > 0):
        fail(where, f"impossible: {section}")


def check_past(where, deadlock):
    members = deadlock["members"]
    if len(members) != min(deadlock["tasks"], 16):
        fail(where, f"{len(members)} members of {deadlock['tasks']}")
    if deadlock.get("victim", 0) >= deadlock["tasks"]:
        fail(where, f"victim {deadlock['victim']} of {deadlock['tasks']}")
    for what in ("task", "section"):
        if len({member[what] for member in members}) != len(members):
            fail(where, f"a {what} twice in a cycle")


def check_report(where, report, at_rest):
    for task in report["tasks"]:
        check_task(f"{where} task {task['task']}", task)
    for section in report["sections"]:
        check_section(f"{where} section {section['section']}", section)
    for deadlock in report["past_deadlocks"]:
        check_past(where, deadlock)
    for what, items in (("task", report["tasks"]), ("section", report["sections"])):
        if len({item[what] for item in items}) != len(items):
            fail(where, f"a {what} is there twice")
    if report["deadlocks_broken"] > report["deadlocks_found"]:
        fail(where, "more broken than found")
    if at_rest:
        check_at_rest(where, report)


def check_at_rest(where, report):
    """All pieces of the report are of one moment."""
    tasks = {task["task"]: task for task in report["tasks"]}
    sections = {section["section"]: section for section in report["sections"]}
    for task in tasks.values():
        owned = sum(section.get("owner") == task["task"] for section in sections.values())
        if owned != task["owned"]:
            fail(where, f"task {task['task']} owns {owned}, and says {task['owned']}")
    for handle, section in sections.items():
        waiters = sum(task.get("waiting", {}).get("section") == handle for task in tasks.values())
        if waiters != section["waiters"]:
            fail(where, f"{waiters} wait for {handle}, and it says {section['waiters']}")
    for cycle in report["deadlocks"]:
        for member, owner in zip(cycle, cycle[1:] + cycle[:1]):
            if tasks[member["task"]]["waiting"]["section"] != member["section"]:
                fail(where, f"{member} waits for something else")
            if sections[member["section"]]["owner"] != owner["task"]:
                fail(where, f"{member} waits for a section of someone else")


def cycles_expected(situation):
    return {"standing": [2], "standing_twenty": [20], "all_blocked": [2]}.get(situation, [])


def check_names(reports):
    """Names come through as they were set, with U+FFFD for bytes that are no UTF-8."""
    expected = ['"quotes"', "back\\slash\\", "line\nfeed\rand\ttab", "\x01\x02\x1f\x7f", "\ufffd\ufffd invalid \ufffd",
                "\ufffd\ufffd\ufffd surrogate", "</svg> & <b>", "{record|label}", "\\N \\G \\\" %s %n",
                "\u2028 \x85 separators", "*/ // # ;", "caf\u00e9 \U0001f512", "</script><script>bad()</script>",
                "<!--<script>", "</pre><img src=x onerror=bad()>", "&lt; &amp; &#60;"]
    for index, name in enumerate(expected):
        report = reports[f"names_{index}"]
        if report["tasks"][0]["name"] != name:
            fail(f"names_{index}", f"the task is called {report['tasks'][0]['name']!r}")
        if name not in [section.get("name") for section in report["sections"]]:
            fail(f"names_{index}", f"no section is called {name!r}")


def check_windows(report):
    """Sections of Windows' kind: a variable, one whose owner has ended, a misuse besides."""
    sections = [section for section in report["sections"] if "critical_section" in section]
    if not any(section["critical_section"].endswith("!windows_section+0x0") for section in sections):
        fail("windows", f"no windows_section in {sections}")
    if sum("orphaned_by_tid" in section for section in sections) != 1:
        fail("windows", f"not one orphan in {sections}")
    if {name: count for name, count in report["win32_misuses"].items() if count} != {"leave_by_other": 1, "owner_ended": 1}:
        fail("windows", f"misuses: {report['win32_misuses']}")
    sites = {site["misuse"]: site for site in report["win32_misuse_sites"]}
    if sorted(sites) != ["leave_by_other", "owner_ended"] or any(site["count"] != 1 for site in sites.values()):
        fail("windows", f"misuse from {sites}")
    if "!leave_as_a_stranger_and_die_holding+0x" not in sites["leave_by_other"].get("at", ""):
        fail("windows", f"a leave from {sites['leave_by_other']}")
    if not sites["owner_ended"]["first_variable"].endswith("!orphaned_section+0x0"):
        fail("windows", f"an orphan is {sites['owner_ended']}")


def check_chaos_names(where, report, thread_name):
    """Names set while the report was made are whole: one letter each, repeated."""
    for item in report["tasks"] + report["sections"]:
        name = item.get("name", thread_name)
        if name != thread_name and not re.fullmatch(r"([a-z])\1*", name):
            fail(where, f"a torn name: {name!r}")


# ---- the two modes ----

def situations(folder, suffix):
    return sorted(name.removesuffix(suffix) for name in os.listdir(folder) if name.endswith(suffix))


def read_json(folder, situation):
    with open(os.path.join(folder, situation + ".json"), encoding="utf-8", errors="strict") as file:
        return load(file)


def check_json(folder, schema_path, thread_name):
    check_validator()
    with open(schema_path, encoding="utf-8") as file:
        schema = load(file)
    named = read_json(folder, "all_blocked")
    named["tasks"][0]["waiting"]["at"] = "restock (shop.lua:21)"
    validate(named, schema, schema, "a place that the caller named")
    # The program names none.
    schema["$defs"]["call_site"] = schema["$defs"]["place"]
    reports = {}
    for situation in situations(folder, ".json"):
        report = reports[situation] = read_json(folder, situation)
        validate(report, schema, schema, situation)
        if not failures:
            chaos = situation.startswith("chaos_")
            check_report(situation, report, not chaos)
            if chaos:
                check_chaos_names(situation, report, thread_name)
            elif [len(cycle) for cycle in report["deadlocks"]] != cycles_expected(situation):
                fail(situation, f"deadlocks: {report['deadlocks']}")
    if not failures:
        check_names(reports)
        check_windows(reports["windows"])
        if not any(report["past_deadlocks"] for name, report in reports.items() if name.startswith("chaos_")):
            fail("chaos", "no deadlock happened")
    return len(reports)


def graphviz(arguments):
    result = subprocess.run(arguments, capture_output=True, text=True, errors="strict")
    if result.returncode != 0 or result.stderr:
        fail(" ".join(arguments[:2]), result.stderr.strip() or f"exit code {result.returncode}")
    return result.stdout


def drawn_name(name):
    """What could end a label, be an escape in it or deceive who reads it is replaced."""
    replaced = (character == '"' or unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in name)
    kept = "".join("?" if other else character for character, other in zip(name, replaced))
    return kept.replace("\ufffd", "?").replace("\\", "/")


def check_drawing(folder, situation):
    path = os.path.join(folder, situation + ".dot")
    report = read_json(folder, situation)
    graph = json.loads(graphviz(["dot", "-Tjson0", path]))
    nodes, edges = graph.get("objects", []), graph.get("edges", [])
    drawn = [section for section in report["sections"] if section["state"] == "owned" or section["waiters"]]
    if len(nodes) != len(report["tasks"]) + len(drawn):
        fail(situation, f"{len(nodes)} nodes for {len(report['tasks'])} tasks and {len(drawn)} sections")
    labels = [node["label"] for node in nodes]
    for section in drawn:
        if "name" in section and f"{drawn_name(section['name'])}\\nrecursion {section['recursion']}" not in labels:
            fail(situation, f"no box for {section['name']!r} in {labels}")
    waits = sum("waiting" in task for task in report["tasks"])
    owned = sum("owner" in section for section in drawn)
    if len(edges) != waits + owned:
        fail(situation, f"{len(edges)} arrows for {waits} waits and {owned} owners")
    red = sum(edge.get("color") == "red" for edge in edges)
    if red != 2 * sum(map(len, report["deadlocks"])):
        fail(situation, f"{red} red arrows for {report['deadlocks']}")


def check_dot(folder):
    names = situations(folder, ".dot")
    for situation in names:
        if situation in UNREAD:
            graphviz(["nop", "-p", os.path.join(folder, situation + ".dot")])
        elif situation.startswith("chaos_"):
            graphviz(["dot", "-Tsvg", os.path.join(folder, situation + ".dot")])
        else:
            check_drawing(folder, situation)
    return len(names)


def main():
    mode, program = sys.argv[1], sys.argv[-1]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program], env={**os.environ, "REPORT_FORMATS_DIR": folder}, check=True)
        # As Linux cuts it.
        thread_name = os.path.basename(program)[:15]
        count = check_json(folder, sys.argv[2], thread_name) if mode == "json" else check_dot(folder)
    for failure in failures[:20]:
        print(failure)
    print(f"{count} reports, {len(failures)} failures")
    return 1 if failures or count < 80 else 0


if __name__ == "__main__":
    sys.exit(main())
