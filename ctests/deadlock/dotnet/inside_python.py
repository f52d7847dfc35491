"""python3 inside_python.py <runtimeconfig.json> <hostcrst-dump> <file>: .NET inside of Python, on the runtime of DOTNET_ROOT.

What hostcrst-dump says of the process, while Python that .NET has called is running, goes to the file.
"""

import os
import subprocess
import sys

from clr_loader import get_coreclr
from pythonnet import set_runtime

config, dump, shown = sys.argv[1:]
set_runtime(get_coreclr(runtime_config=config, dotnet_root=os.environ["DOTNET_ROOT"]))

import clr  # noqa: E402, F401: it makes the namespaces of .NET modules
from System import Environment, Int32  # noqa: E402
from System.Collections.Generic import List  # noqa: E402
from System.Threading import Thread, ThreadStart  # noqa: E402


def sorted_by_dotnet():
    numbers = List[Int32]()
    for number in (3, 1, 2):
        numbers.Add(number)
    numbers.Sort()
    return list(numbers)


def run():
    print(Thread.CurrentThread.Name, sorted_by_dotnet(), flush=True)
    with open(shown, "w") as file:
        subprocess.run([dump, str(os.getpid())], stdout=file)


print(".NET", Environment.Version.Major, flush=True)
# Python holds its lock while it waits in Join, and the thread needs it.
thread = Thread(ThreadStart(run))
thread.Name = "from Python"
thread.Start()
while thread.IsAlive:
    Thread.Sleep(1)
