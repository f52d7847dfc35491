"""A headless Chromium, told what to do over its pipe (the DevTools protocol). Knows nothing of reports."""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
SECONDS = 60


def find():
    """The path of a browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser. What it complains of, and each address that it would load, is in `complaints`."""

    def __init__(self, program, width=1400, height=1000):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self.writes = os.pipe()
        self.reads, from_browser = os.pipe()
        # It reads from 3 and writes to 4. Beyond these two the pipes do not get in each other's way.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]
        os.close(to_browser)
        os.close(from_browser)
        shell = 'exec "${@:3}" 3<&"$1" 4>&"$2"'
        options = ["--headless", "--disable-gpu", "--no-first-run", "--disable-extensions", "--hide-scrollbars",
                   "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
                   f"--window-size={width},{height}", f"--user-data-dir={self.folder.name}", "--remote-debugging-pipe"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        self.log = open(os.path.join(self.folder.name, "log"), "w+")
        self.process = subprocess.Popen(["bash", "-c", shell, "bash", *map(str, ends), program, *options, "about:blank"],
                                        pass_fds=ends, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        for end in ends:
            os.close(end)
        self.buffer, self.last, self.events, self.complaints = b"", 0, [], []
        self.session = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.writes)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.reads)
        self.log.close()
        self.folder.cleanup()

    # ---- the protocol: JSON objects, each followed by a zero byte ----

    def receive(self):
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self.buffer:
            if not select.select([self.reads], [], [], max(0, deadline - time.monotonic()))[0]:
                raise RuntimeError(f"the browser has said nothing for {SECONDS} s")
            more = os.read(self.reads, 1 << 16)
            if not more:
                self.log.seek(0)
                raise RuntimeError(f"the browser has ended: {self.log.read()}")
            self.buffer += more
        message, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(message)
        if "method" in message:
            self.note(message["method"], message["params"])
        return message

    def note(self, method, parameters):
        self.events.append(method)
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(parameters["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith("file:"):
            self.complaints.append(f"it loads {parameters['request']['url']}")

    def call(self, method, **parameters):
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    # ---- what a reader does ----

    def open(self, path):
        self.events.clear()
        self.call("Page.navigate", url=f"file://{os.path.abspath(path)}")
        while "Page.loadEventFired" not in self.events:
            self.receive()

    def ask(self, expression):
        """The value of an expression of JavaScript in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key, code, text=None):
        common = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def tab(self):
        self.press("Tab", 9)

    def enter(self):
        self.press("Enter", 13, "\r")

    def type(self, text):
        self.call("Input.insertText", text=text)

    def prefer(self, scheme):
        """Dark or light."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def run_scripts(self, whether):
        self.call("Emulation.setScriptExecutionDisabled", value=not whether)

    def picture(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
