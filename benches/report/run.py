"""python3 benches/report/run.py <how the run was started>: what a reader has to know of a run, as JSON."""

import json
import os
import platform
import subprocess
import sys
import time


def first_line(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]


def processor():
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def main():
    print(json.dumps({
        "command": " ".join(sys.argv[1:]),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "version": first_line("git", "describe", "--always", "--dirty"),
        "processor": processor(),
        "processors": len(os.sched_getaffinity(0)),
        "system": "%s %s" % (platform.system(), platform.release().split("-")[0]),
        "libc": " ".join(platform.libc_ver()),
        "compiler": first_line("cc", "--version"),
        "rust": first_line("rustc", "--version"),
        "load": "%.2f" % os.getloadavg()[0],
    }, indent=1))


main()
