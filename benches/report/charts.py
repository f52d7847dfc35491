"""The charts, as SVG: panels side by side, with bars for subjects or lines over a count."""

import math
from html import escape

from samples import FLOORS, OURS
from tables import OVERVIEW, OVERVIEW_SUBJECTS, better, scaled_rows, short_name, with_unit

OUR_COLOUR, PEER_COLOUR, FLOOR_COLOUR = "#c2410c", "#7f93ab", "#cfd8e3"
LABELS, BARS, VALUES = 84, 150, 66  # widths within a panel
PANEL, LINE, MARGIN = LABELS + BARS + VALUES, 18, 20
PANELS_ABREAST = 3
OVERVIEW_FILE = "overview.svg"


def colour(subject):
    return OUR_COLOUR if subject.startswith(OURS) else FLOOR_COLOUR if subject in FLOORS else PEER_COLOUR


def text(x, y, content, anchor="start", **style):
    attributes = "".join(' %s="%s"' % (name.replace("_", "-"), value) for name, value in style.items())
    return '<text x="%g" y="%g" text-anchor="%s"%s>%s</text>' % (x, y, anchor, attributes, escape(content))


def bar_panel(title, metric, values, log):
    """(height, elements): a bar for each (subject, value)."""
    largest = max(value for _, value in values)
    smallest = min(value for _, value in values) / 2

    def length(value):
        if log:
            return BARS * math.log(value / smallest) / math.log(largest / smallest)
        return BARS * value / largest

    parts = [text(0, 12, title, font_weight="bold")]
    for at, (subject, value) in enumerate(values):
        y = 22 + at * LINE
        weight = {"font_weight": "bold"} if subject == OURS else {}
        parts.append(text(LABELS - 6, y + 12, short_name(subject), "end", **weight))
        parts.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>'
                     % (LABELS, y + 2, length(value), LINE - 5, colour(subject)))
        parts.append(text(LABELS + length(value) + 4, y + 12, with_unit(value, metric), **weight))
    return 22 + len(values) * LINE, parts


def line_panel(title, series):
    """(height, elements): a line for each (name, metric, colour, [(count, value)]), both axes logarithmic."""
    height, left, width = 150, 10, PANEL - 140
    counts = [count for *_, points in series for count, _ in points]
    values = [value for *_, points in series for _, value in points]
    first, last = math.log10(min(counts)), math.log10(max(counts))
    low, high = math.log10(min(values) / 2), math.log10(max(values) * 2)

    def place(count, value):
        return (left + width * (math.log10(count) - first) / (last - first),
                24 + height * (high - math.log10(value)) / (high - low))

    parts = [text(0, 12, title, font_weight="bold"),
             '<path d="M%d %dH%d" stroke="%s"/>' % (left, 24 + height, left + width, PEER_COLOUR)]
    for count in sorted(set(counts)):
        parts.append(text(place(count, 1)[0], 24 + height + 14, "{:,}".format(count).replace(",", " "), "middle"))
    for name, metric, ink, points in series:
        path = " ".join("%.1f,%.1f" % place(*point) for point in points)
        parts.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>' % (path, ink))
        for point in points:
            x, y = place(*point)
            parts.append('<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/>' % (x, y, ink))
    ends = [place(*points[-1]) for *_, points in series]
    for (name, metric, ink, points), (x, _), y in zip(series, ends, spread([y for _, y in ends])):
        parts.append(text(x + 6, y + 4, "%s, %s" % (name, with_unit(points[-1][1], metric)), fill=ink))
    return 24 + height + 20, parts


def spread(heights, least=12):
    """The heights, moved so that no two are nearer than that: the whole of a crowd about its middle."""
    crowds = [[at] for at in sorted(range(len(heights)), key=heights.__getitem__)]

    def first_of(crowd):
        return sum(heights[at] for at in crowd) / len(crowd) - least * (len(crowd) - 1) / 2

    at = 0
    while at + 1 < len(crowds):
        if first_of(crowds[at]) + least * len(crowds[at]) <= first_of(crowds[at + 1]):
            at += 1
        else:
            crowds[at] += crowds.pop(at + 1)
            at = max(at - 1, 0)
    places = {index: first_of(crowd) + least * n for crowd in crowds for n, index in enumerate(crowd)}
    return [places[index] for index in range(len(heights))]


def picture(title, panels):
    """One SVG of all (height, elements)."""
    drawn, top = [], 46
    for start in range(0, len(panels), PANELS_ABREAST):
        abreast = panels[start:start + PANELS_ABREAST]
        for at, (_, elements) in enumerate(abreast):
            drawn.append('<g transform="translate(%d %d)">%s</g>'
                         % (MARGIN + at * (PANEL + MARGIN), top, "".join(elements)))
        top += max(height for height, _ in abreast) + MARGIN
    width = MARGIN + min(len(panels), PANELS_ABREAST) * (PANEL + MARGIN)
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" '
            'font-family="sans-serif" font-size="11" fill="#1f2937">\n'
            '<rect width="100%%" height="100%%" fill="#ffffff"/>\n%s\n%s\n</svg>\n'
            % (width, top, width, top, text(MARGIN, 26, title, font_size=15, font_weight="bold"), "\n".join(drawn)))


def bar_panels(samples, wanted, log=False, only=None):
    """The panels of all (title, row, metric) that were measured; the best first."""
    for title, row, metric in wanted:
        values = [(subject, samples.median(row, metric, subject)) for subject in only or samples.subjects(row)]
        values = [(subject, value) for subject, value in values if value is not None and subject != "no lock"]
        if values:
            values.sort(key=lambda item: item[1], reverse=metric == "throughput")
            yield bar_panel(title, metric, values, log)


def scale_panels(samples):
    for title, rows in scaled_rows(samples):
        series = []
        for subject in samples.subjects(rows[-1][1]):
            points = [(count, samples.median(row, samples.metrics(row)[0], subject)) for count, row in rows]
            points = [point for point in points if point[1] is not None]
            if len(points) > 1:
                series.append((short_name(subject), samples.metrics(rows[-1][1])[0], colour(subject), points))
        if series:
            yield line_panel(title, series)


def charts(samples):
    """(file name, title, SVG) of each chart whose rows were measured."""
    sections = ("short", "500 ns")
    contended = [("%s section, %d threads" % (section, threads), "%s, %d threads" % (section, threads), "throughput")
                 for section in sections for threads in (2, 4, 16)]
    waits = [("%s section: %s" % (section, name), "%s, 16 threads" % section, metric)
             for section in sections
             for name, metric in (("busiest / laziest", "fairness"), ("longest wait", "longest"),
                                  ("weighted median wait", "weighted median"))]
    wanted = [
        (OVERVIEW_FILE, "hostcrst beside three locks", bar_panels(samples, [
            ("%s (%s is better)" % (title, better(metric)), row, metric) for title, row, metric in OVERVIEW
        ], only=OVERVIEW_SUBJECTS)),
        ("uncontended.svg", "Entering and leaving when nobody waits (less is better)", bar_panels(samples, [
            ("enter and leave", "pair", "ns"),
            ("enter again and leave", "re-enter", "ns"),
            ("one of 4096 at random", "4096 at random", "ns"),
        ])),
        ("transitions.svg", "To native code and back (less is better)", bar_panels(samples, [
            ("out and back", "transition", "ns"),
            ("out, in, out and back", "nested transitions", "ns"),
        ])),
        ("contended.svg", "Many want it: entries a second (more is better)", bar_panels(samples, contended)),
        ("waits.svg", "Many want it: 16 threads, logarithmic (less is better)", bar_panels(samples, waits, log=True)),
        ("scale.svg", "Cost against scale, logarithmic (less is better)", scale_panels(samples)),
    ]
    for name, title, panels in wanted:
        drawn = list(panels)
        if drawn:
            yield name, title, picture(title, drawn)
