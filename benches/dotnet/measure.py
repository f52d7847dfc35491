"""python3 benches/dotnet/measure.py <library> <empty profiler> <rounds> <row regex> <.NET version> <command>...

What a profiler costs a .NET program. Samples as the other programs print them; <command> runs Calls.dll.
"""

import json
import os
import re
import subprocess
import sys


def start(command, variables):
    """Time of processors in nanoseconds: that of a clock would be the machine's load."""
    program = subprocess.Popen(command, env=dict(variables, TURNS="0"))
    _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode != 0:
        raise subprocess.CalledProcessError(program.returncode, command)
    return (used.ru_utime + used.ru_stime) * 1e9


def call(command, variables):
    shown = subprocess.run(command, env=dict(variables, TURNS="20"), check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(shown)


# How each row is measured, and in how many times as many rounds: a start is short, and varies with what else runs.
ROWS = (("CPU to start and end", start, 4), ("call of native code", call, 1))


def subjects(library, empty):
    """(name, its environment) of each; without a value for HOSTCRST_CLR the default."""
    def profiled_by(path, **more):
        return dict(CORECLR_ENABLE_PROFILING="1", CORECLR_PROFILER="{0ddba11c-0de5-4c5a-9d3f-6c7273740001}",
                    CORECLR_PROFILER_PATH=path, **more)

    return (("no profiler", {}), ("empty profiler", profiled_by(empty)), ("hostcrst", profiled_by(library)),
            ("hostcrst, transitions", profiled_by(library, HOSTCRST_CLR="transitions")),
            ("hostcrst, locks", profiled_by(library, HOSTCRST_CLR="locks")))


def main():
    library, empty, rounds, wanted, version, *command = sys.argv[1:]
    compared = subjects(library, empty)
    for title, measure, times in ROWS:
        row = ".NET %s: %s" % (version, title)
        if not re.search(wanted, row):
            continue
        for number in range(int(rounds) * times):
            at = number % len(compared)
            for subject, environment in compared[at:] + compared[:at]:
                value = measure(command, dict(os.environ, DOTNET_SYSTEM_GLOBALIZATION_INVARIANT="1", **environment))
                print(json.dumps({"row": row, "subject": subject, "round": number, "metric": "ns", "value": value}),
                      flush=True)


main()
