"""python3 benches/report <folder> [<docs folder>]: shows what the run in <folder> measured.

Reads run.json and samples.jsonl, prints the tables, and writes results.json and the charts beside them; with a second
folder, there the pages for readers of what was measured, and the charts.
"""

import json
import sys
from pathlib import Path

from charts import charts
from page import pages
from samples import Samples
from tables import dotnet, sections, summary, table


def main():
    folder, docs = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    run = json.loads((folder / "run.json").read_text())
    with open(folder / "samples.jsonl") as lines:
        samples = Samples(lines)
    for heading, lines in sections(samples):
        print("\n%s\n" % heading)
        for line in lines:
            print("  " + line)
    heads, lines = dotnet(samples)
    if lines:
        print("\nWhat a profiler costs a .NET program, and ratios to none\n")
        for line in table(heads, lines):
            print("  " + line)
    (folder / "results.json").write_text(json.dumps(dict(summary(samples), run=run), indent=1) + "\n")
    for target in [folder] + docs:
        target.mkdir(exist_ok=True)
        for name, _, picture in charts(samples):
            (target / name).write_text(picture)
    for target in docs:
        for name, text in pages(run, samples):
            (target / name).write_text(text)


main()
