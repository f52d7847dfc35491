"""Two threads in a deadlock of the interpreter's lock and a section, both ways round: the last wait is refused, with an
exception in the thread that made it, and the other thread goes on.

    cc -shared -fPIC $(python3-config --includes) stock.c -o stock.so $(pkg-config --cflags --libs hostcrst)
    python3 demo.py
"""

import sys
import threading

import stock


def play(last):
    outcomes = {}

    def act(name, call):
        try:
            call(name == last)
            outcomes[name] = "went on"
        except RuntimeError as error:
            outcomes[name] = str(error)

    threads = [threading.Thread(target=act, args=role) for role in (("keeper", stock.keep), ("seller", stock.sell))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, outcome in sorted(outcomes.items()):
        print(f"{name}{' (waits last)' if name == last else ''}: {outcome}")
    other = "keeper" if last == "seller" else "seller"
    return outcomes[last].startswith("deadlock:") and outcomes[other] == "went on"


sys.exit(0 if all([play("seller"), play("keeper")]) else 1)
