#!/usr/bin/env python3
"""picture.py PAGE PNG [WIDTH HEIGHT]: what a page looks like in a headless Chromium."""
import sys

import browser

page, png, *size = sys.argv[1:]
with browser.Browser(browser.find(), *map(int, size)) as opened:
    opened.prefer("light")
    opened.open(page)
    opened.picture(png)
