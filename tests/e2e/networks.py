"""Two machines with a cable between them: network namespaces of a test's own, which end with it."""

import re
import subprocess
import sys

from tests.lacking import lacking

#: The addresses of the two ends.
SERVER, WORKER = "10.231.97.1", "10.231.97.2"

#: Seven kilobytes, ten times a second: somewhat more at a time than `Cable.spoil` lets wait.
_BURSTS = """
import socket, sys, time

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
    while True:
        for _ in range(7):
            noise.sendto(bytes(1000), (sys.argv[1], 40000))
        time.sleep(0.1)
"""


class Cable:
    """A server's namespace and a worker's, and what may happen between them."""

    def __init__(self):
        if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
            lacking("no right to make a network namespace")
        command = ["unshare", "--net", "--kill-child", "--fork", "sh", "-c", "echo; exec sleep infinity"]
        self._noise = []
        self._holders = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
        for holder in self._holders:
            holder.stdout.readline()
        server, worker = (int(self._child(holder)) for holder in self._holders)
        #: What is put before a command to run it at the server's end, and at the worker's.
        self.at_server, self.at_worker = (["nsenter", "--net", "--target", str(pid)] for pid in (server, worker))
        names = ["type", "veth", "peer", "name", "cable1", "netns", str(worker)]
        self._run(self.at_server, "ip", "link", "add", "cable0", *names)
        for at, name, address in ((self.at_server, "cable0", SERVER), (self.at_worker, "cable1", WORKER)):
            self._run(at, "ip", "addr", "add", f"{address}/24", "dev", name)
            for one in ("lo", name):
                self._run(at, "ip", "link", "set", one, "up")

    @staticmethod
    def _child(holder):
        return subprocess.check_output(["pgrep", "--parent", str(holder.pid)], text=True)

    @staticmethod
    def _run(at, *command):
        return subprocess.check_output([*at, *command], text=True)

    def unplug(self):
        """Take the cable out at the worker's end: it has no way to anywhere."""
        self._run(self.at_worker, "ip", "link", "set", "cable1", "down")

    def plug_in(self):
        self._run(self.at_worker, "ip", "link", "set", "cable1", "up")

    def swallow(self):
        """Let what the server sends vanish: the worker is heard and hears nothing."""
        self._run(self.at_server, "ip", "route", "add", "blackhole", f"{WORKER}/32")

    def answer(self):
        self._run(self.at_server, "ip", "route", "del", "blackhole", f"{WORKER}/32")

    def spoil(self):
        """Carry little, late, beside the bursts of others, and drop what does not fit: in both directions."""
        for at, name, other in ((self.at_server, "cable0", WORKER), (self.at_worker, "cable1", SERVER)):
            little = ["rate", "512kbit", "burst", "1600", "limit", "4000"]
            self._run(at, "tc", "qdisc", "add", "dev", name, "root", "tbf", *little)
            self._noise.append(subprocess.Popen([*at, sys.executable, "-c", _BURSTS, other]))

    def dropped(self):
        """Return how many packets were dropped so far."""
        told = self._run(self.at_server, "tc", "-s", "qdisc") + self._run(self.at_worker, "tc", "-s", "qdisc")
        return sum(int(count) for count in re.findall(r"dropped (\d+)", told))

    def close(self):
        for process in (*self._noise, *self._holders):
            process.kill()
            process.wait()
        for holder in self._holders:
            holder.stdout.close()
