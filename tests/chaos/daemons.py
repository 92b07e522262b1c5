# SPDX-License-Identifier: LGPL-2.1-or-later
"""The droverd of each host, and the keeper, which starts those again that were killed, as systemd would."""
import json
import os
import random
import signal
import subprocess
import threading
import time

import harness
from hosts import kill, process_state, send

RESTART_S = (0.1, 2.0)


class HostDaemon(harness.Daemon):
    """A droverd as a process of a host."""

    def __init__(self, host, site, name, folder):  # pylint: disable=super-init-not-called
        site.count += 1
        self.host, self.site, self.name = host, site, name
        self.log_path = folder / f'{host.name}.{site.count}.log'
        words = host.words(harness.BUILD / 'droverd', '--config', site.conf, '--campaign', name)
        with open(self.log_path, 'wb') as log, host.as_parent():
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=dict(os.environ, **host.env))
        self.pid = self.process.pid
        self.killed = False  # by us

    def exit_text(self):
        code = self.process.returncode
        how = f'exit {code}' if code >= 0 else signal.Signals(-code).name
        return f'droverd on {self.host.name} ended by itself: {how}: {" | ".join(self.log().splitlines()[-3:])}'


class Keeper(threading.Thread):
    """Looks after the daemons of all hosts. None may end by itself before the campaign is over."""

    def __init__(self, round_):
        super().__init__(daemon=True)
        self.round = round_
        self.rng = random.Random(round_.seed + 1)
        self.lock = threading.Lock()  # guards the hosts' daemon, and all below
        self.due = {}                 # host -> when its daemon is started again; None: not until it is released
        self.exits = []               # what ended by itself
        self.kills = 0
        self.daemons = []
        self.end = threading.Event()

    def start_all(self):
        for host in self.round.cluster.hosts:
            self._start(host)
        self.start()

    def _start(self, host):
        host.daemon = HostDaemon(host, self.round.site, self.round.name, self.round.dir)
        self.daemons.append(host.daemon)
        self.due.pop(host, None)

    def run(self):
        try:
            while not self.end.wait(0.02):
                with self.lock:
                    for host in self.round.cluster.hosts:
                        self._look(host)
        except BaseException as e:
            self.round.violations.add('harness', f'the keeper ended: {e!r}')

    def _look(self, host):
        daemon = host.daemon
        if daemon.alive():
            return
        if host not in self.due:
            if not daemon.killed:
                if daemon.process.returncode == 0 and self.round.is_over():
                    return
                self.exits.append(daemon.exit_text())
                self.round.violations.add('exit', daemon.exit_text())
            self.due[host] = time.monotonic() + self.rng.uniform(*RESTART_S)
        if self.due[host] is not None and time.monotonic() >= self.due[host]:
            self._start(host)

    def kill(self, host, hold=False):
        """SIGKILL for its daemon. hold: it is not started again until release()."""
        with self.lock:
            daemon = host.daemon
            if daemon.alive():
                daemon.killed = True
                self.kills += 1
                send(daemon.pid, signal.SIGKILL)
            self.due[host] = None if hold else time.monotonic() + self.rng.uniform(*RESTART_S)
        kill(daemon.pid)

    def release(self, host):
        with self.lock:
            if self.due.get(host, 0) is None:
                self.due[host] = time.monotonic() + self.rng.uniform(0, 0.5)

    def running(self):
        """Hosts whose daemon runs and is not stopped."""
        with self.lock:
            return [h for h in self.round.cluster.hosts if h.daemon.alive() and process_state(h.daemon.pid) != 'T']

    def all_run(self):
        with self.lock:
            return all(h.daemon.alive() for h in self.round.cluster.hosts)

    def all_ended(self):
        with self.lock:
            return all(not h.daemon.alive() and h not in self.due for h in self.round.cluster.hosts)

    def stop(self):
        self.end.set()
        self.join(30)

    def close(self):
        self.stop()
        for daemon in self.daemons:
            if daemon.alive():
                daemon.kill()


def final_state(folder):
    """The state that the campaign's folder tells, if it is a final one."""
    try:
        state = json.loads((folder / 'status.json').read_text())['state']
        return state if state in harness.FINAL else None
    except (OSError, ValueError, KeyError):
        return None
