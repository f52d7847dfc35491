"""Two threads take two sections, each in its own order. One is refused, lets go, and tries again: both go on."""

import sys
import threading

import hostcrst

orders, stock = hostcrst.CriticalSection("orders"), hostcrst.CriticalSection("stock")
both_own_one = threading.Barrier(2)


def say(what):  # print() may be interrupted before the line ends
    sys.stdout.write(f"{threading.current_thread().name} {what}\n")


def take(first, second):
    refused = 0
    while True:
        try:
            with first:
                if refused == 0:
                    both_own_one.wait()
                with second:
                    say("has both")
                    return
        except hostcrst.Deadlock as deadlock:
            refused += 1
            say(f"is refused: {deadlock}")


threads = [
    threading.Thread(name="sell", target=take, args=(orders, stock)),
    threading.Thread(name="restock", target=take, args=(stock, orders)),
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
report = hostcrst.report()
print(report[report.index("Order that led here") : report.index("*** DEADLOCK ***")].rstrip())
