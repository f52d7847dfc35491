#!/usr/bin/env python3
"""Opens pages of reports in a headless Chromium and uses them as a reader would.

page.py REPORT_FORMATS DUMP MIXED FOLDER   REPORT_FORMATS writes a page and the JSON of each of its situations; DUMP writes one
                                           on MIXED, which hangs; the pages and pictures of them stay in FOLDER
Ends with 77 if there is no browser.
"""
import json
import os
import pathlib
import subprocess
import sys
import time
import unicodedata

import browser

NO_BROWSER = 77
failures = []


def check(condition, where, what):
    if not condition:
        failures.append(f"{where}: {what}"[:500])


def equal(where, what, found, wanted):
    check(found == wanted, where, f"{what}: {found!r}, not {wanted!r}")


def count(page, selector):
    return page.ask(f"document.querySelectorAll({json.dumps(selector)}).length")


def shown_name(name):
    """As the page shows what could deceive."""
    return "".join(f"\\u{{{ord(c):x}}}" if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in name)


def first_column(page, number):
    """The texts of the first cells of a table."""
    rows = f"[...document.querySelectorAll('#drawn table[data-sorts]')[{number}].tBodies[0].rows]"
    return page.ask(f"{rows}.map(row => row.cells[0].innerText.trim())")


# ---- every situation ----

def check_every_page(page, folder):
    """Each loads without a complaint, and shows what the JSON of the same situation says."""
    names = sorted(path.stem for path in folder.glob("*.html"))
    for name in names:
        page.open(folder / f"{name}.html")
        equal(name, "complaints", page.complaints, [])
        page.complaints.clear()
        # The data and the page's own script.
        equal(name, "scripts", count(page, "script"), 2)
        equal(name, "pictures", count(page, "img"), 0)
        if not name.startswith("chaos_"):
            check_against_json(page, name, json.loads((folder / f"{name}.json").read_text()))
    return len(names)


def check_against_json(page, name, report):
    threads = first_column(page, 0)
    tasks = {task["tid"] for task in report["tasks"]}
    others = [thread for thread in report.get("threads", []) if thread["tid"] not in tasks]
    wanted = [shown_name(row["name"]) or "thread" for row in report["tasks"] + others]
    equal(name, "threads", sorted(" ".join(text.split()) for text in threads), sorted(" ".join(text.split()) for text in wanted))
    members = sum(map(len, report["deadlocks"])) + sum(len(cycle["tids"]) for cycle in report.get("thread_deadlocks", []))
    equal(name, "red edges", count(page, "svg .edge.red[marker-end]"), 2 * members)
    check(bool(members) == page.ask("document.body.className === 'bad'"), name, "the verdict has another colour")
    check(count(page, "table.order") >= len(report["deadlocks"]), name, "the order that led there is missing")
    layers = sum(len(task["layers"]) for task in report["tasks"])
    if layers:
        page.ask("document.querySelectorAll('#drawn td details').forEach(details => (details.open = true))")
        # The toggle is told later.
        page.ask("new Promise(resolve => setTimeout(resolve))")
        check(count(page, ".layer .layer") >= 1, name, "layers are not nested")


def check_names(page, folder):
    """Whatever a name contains, it is text."""
    for path in sorted(folder.glob("names_*.json")):
        report = json.loads(path.read_text())
        page.open(path.with_suffix(".html"))
        text = page.ask("document.body.textContent")
        for named in report["tasks"] + report["sections"]:
            check(shown_name(named.get("name", "")) in text, path.stem, f"{named.get('name')!r} is not shown")
        check(not page.ask("typeof bad !== 'undefined'"), path.stem, "a name was run")


# ---- use ----

def tab_to(page, expression, where):
    """Presses Tab until the element that has the focus is the one, and says whether that came."""
    for _ in range(200):
        if page.ask(f"Boolean(document.activeElement && (element => {expression})(document.activeElement))"):
            check(page.ask("getComputedStyle(document.activeElement).outlineStyle !== 'none' || "
                           "document.activeElement.matches('svg a')"), where, "the focus cannot be seen")
            return True
        page.tab()
    check(False, where, f"the keyboard does not get to {expression}")
    return False


def check_keyboard(page, path):
    """A table is filtered and sorted without a mouse."""
    page.open(path)
    page.tab()
    check(page.ask("document.activeElement.matches('.skip')"), "keyboard", "the first Tab does not lead to the skip link")
    if tab_to(page, "element.matches('svg a')", "keyboard"):
        name = page.ask("document.activeElement.querySelector('text').textContent")
        page.enter()
        check(page.ask("document.activeElement.matches('tr')"), "keyboard", "Enter on a node does not lead to its row")
        check(name in page.ask("document.activeElement.innerText"), "keyboard", "it leads to another row")
    page.open(path)
    everyone = first_column(page, 0)
    if tab_to(page, "element.matches('input')", "filter"):
        # Words of two columns, in any case.
        page.type("JOIN one")
        equal("filter", "rows", first_column(page, 0), [next(name for name in everyone if name.startswith("dump_mixed"))])
        equal("filter", "the count", page.ask("document.querySelector('output').textContent"), f"1 of {len(everyone)}")
        page.ask("document.querySelector('input').select()")
        page.type(" ")
        equal("filter", "rows", first_column(page, 0), everyone)
    heading = "element.matches('th button') && element.textContent === 'tid'"
    if tab_to(page, heading, "sort"):
        sort = "document.activeElement.closest('th').getAttribute('aria-sort')"
        tids = "[...document.querySelector('table[data-sorts]').tBodies[0].rows].map(row => Number(row.cells[1].innerText))"
        equal("sort", "aria-sort at first", page.ask(sort), "none")
        for direction in ("ascending", "descending"):
            page.enter()
            equal("sort", "aria-sort", page.ask(sort), direction)
            equal("sort", direction, page.ask(tids), sorted(page.ask(tids), reverse=direction == "descending"))
        equal("sort", "headings that are sorted", count(page, "th[aria-sort=descending], th[aria-sort=ascending]"), 1)


CONTRAST = """(() => {
    const channel = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const parts = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = colour => [0.2126, 0.7152, 0.0722].reduce((sum, share, at) => sum + share * channel(parts(colour)[at]), 0);
    const ground = element => {
        const box = element.closest("g, a")?.querySelector("rect");
        if (element.namespaceURI.endsWith("svg") && box) return getComputedStyle(box).fill;
        for (; element; element = element.parentElement) {
            const { backgroundColor } = getComputedStyle(element);
            if (parts(backgroundColor)[3] !== 0) return backgroundColor;
        }
    };
    const weak = [];
    for (const element of document.querySelectorAll("body *:not(script, noscript, style, defs, title)")) {
        const hasText = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        if (!hasText) continue;
        const style = getComputedStyle(element);
        const ink = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
        const [one, other] = [light(ink), light(ground(element))].sort((a, b) => b - a);
        if ((one + 0.05) / (other + 0.05) < 4.5) weak.push(`${element.tagName} ${element.className} ${ink} on ${ground(element)}`);
    }
    return [getComputedStyle(document.body).backgroundColor, [...new Set(weak)]];
})()"""


def check_schemes(page, path, folder):
    grounds = []
    for scheme in ("light", "dark"):
        page.prefer(scheme)
        page.open(path)
        page.ask("document.querySelectorAll('#drawn details').forEach(details => (details.open = true))")
        page.ask("new Promise(resolve => setTimeout(resolve))")
        ground, weak = page.ask(CONTRAST)
        grounds.append(ground)
        equal(f"{path.stem} in {scheme}", "contrast below 4.5", weak, [])
        page.open(path)
        page.picture(folder / f"{path.stem}.{scheme}.png")
        check((folder / f"{path.stem}.{scheme}.png").stat().st_size > 10000, scheme, "the picture is empty")
    check(len(set(grounds)) == 2, "schemes", "dark and light are the same")


def check_without_scripts(page, path):
    page.run_scripts(False)
    page.open(path)
    page.run_scripts(True)
    check("Found 1 deadlock" in page.ask("document.getElementById('verdict').innerText"), "no scripts", "no verdict")
    check("waiting to enter section" in page.ask("document.getElementById('text').innerText"), "no scripts", "no text")
    check(count(page, "noscript p") == 1 and count(page, "svg") == 0, "no scripts", "the page does not say that it has no picture")


# ---- a hang across kinds of locks, through the tool ----

def page_of_mixed(dump, mixed, folder):
    path = folder / "mixed.html"
    environment = {**os.environ, "HOSTCRST_ON_DEADLOCK": "report"}
    subject = subprocess.Popen([mixed], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        subject.stdout.readline()
        deadline = time.monotonic() + 60
        while (code := subprocess.run([dump, "--html", path, str(subject.pid)], check=False).returncode) != 2:
            if code != 0 or time.monotonic() > deadline:
                sys.exit(f"hostcrst-dump --html ended with {code}, not with 2")
            time.sleep(0.1)
    finally:
        subject.kill()
        subject.wait()
    return path


def check_mixed(page, path):
    page.open(path)
    equal("mixed", "complaints", page.complaints, [])
    equal("mixed", "red edges", count(page, "svg .edge.red[marker-end]"), 6)
    # The main thread joins one, four waits for a mutex, five for the rwlock of four.
    equal("mixed", "other edges", count(page, "svg .edge[marker-end]:not(.red)"), 4)
    equal("mixed", "probable edges", count(page, "svg .edge.probable[marker-end]"), 0)
    check("probably" not in page.ask("document.querySelector('svg').textContent"), "mixed", "what is certain is called probable")
    for kind in ("recursive mutex", "rwlock", "section"):
        check(kind in page.ask("document.querySelector('svg').textContent"), "mixed", f"no {kind} in the graph")
    # What is folded is made when it is unfolded.
    for _ in range(2):
        page.ask("document.querySelectorAll('td details').forEach(details => (details.open = true))")
        page.ask("new Promise(resolve => setTimeout(resolve))")
    check(count(page, "td details ol li") >= 3, "mixed", "the threads of the cycle have no stacks")


def check_probable(page, path):
    """The same, had the edges been probable: they look different, and words say so."""
    changed = path.with_name("probable.html")
    text = path.read_text()
    begin, report, end = text.partition('id="report">')
    changed.write_text(begin + report + end.replace('"certain":true', '"certain":false')
                       .replace('"kind":"rwlock"', '"kind":"new_kind_of_lock"'))
    page.open(changed)
    equal("probable", "complaints", page.complaints, [])
    equal("probable", "dashed red edges", count(page, "svg .edge.probable.red[marker-end]"), 6)
    dashes = "getComputedStyle(document.querySelector('svg .edge.probable[marker-end]')).strokeDasharray"
    check(page.ask(dashes) != "none", "probable", "the line is solid")
    drawn = page.ask("document.querySelector('svg').textContent")
    check("probably waits for" in drawn and "probably owned by" in drawn, "probable", f"words do not say so: {drawn}")
    check("new kind of lock" in drawn, "probable", "a kind that is not known is not shown by its word")
    check("probably a deadlock" in page.ask("document.querySelector('table[data-sorts]').innerText"), "probable", "the table does not say so")
    equal("probable", "colour of the verdict", page.ask("document.body.className"), "unsure")


def main():
    program = browser.find()
    if program is None:
        print(f"not run: there is none of {', '.join(browser.NAMES)}; apt-get install chromium")
        return NO_BROWSER
    report_formats, dump, mixed, folder = sys.argv[1:]
    folder = pathlib.Path(folder)
    pages = folder / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    for old in pages.iterdir():
        old.unlink()
    subprocess.run([report_formats], env={**os.environ, "REPORT_FORMATS_DIR": str(pages)}, check=True, stdout=subprocess.DEVNULL)
    path = page_of_mixed(dump, mixed, folder)
    with browser.Browser(program) as page:
        number = check_every_page(page, pages)
        check_names(page, pages)
        check_mixed(page, path)
        check_probable(page, path)
        check_keyboard(page, path)
        check_without_scripts(page, path)
        check_schemes(page, path, folder)
        check_schemes(page, pages / "everything.html", folder)
        check_schemes(page, folder / "probable.html", folder)
    for failure in failures[:20]:
        print(failure)
    print(f"{number} pages, {len(failures)} failures")
    return 1 if failures or number < 80 else 0


sys.exit(main())
