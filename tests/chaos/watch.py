# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two witnesses of a round: one asks for the status every second, the other one tries to write to every server."""
import contextlib
import json
import os
import random
import re
import socket
import subprocess
import threading
import time
import traceback

import harness
from hosts import CLONE_NEWNET, holds_lock, process_state, setns

STATUS_PATIENCE_S = 5
PROBE_S = 0.3


class Violations:
    """What must not be, as it was found. Threads add to it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.found = []
        self.say = print

    def add(self, kind, text):
        with self.lock:
            # One broken thing shows in every later sample: a few of a kind tell enough.
            if sum(k == kind for k, _ in self.found) >= 5:
                return
            self.found.append((kind, text))
        self.say(f'VIOLATION {kind}: {text}')

    @contextlib.contextmanager
    def noting(self, kind):
        """An assertion that fails in here is a violation, and no end of the round; whatever else fails proves nothing."""
        try:
            yield
        except AssertionError as e:
            self.add(kind, str(e))
        except Exception as e:
            self.add('harness', f'{kind}: {"".join(traceback.format_exception(type(e), e, e.__traceback__))}')


class Server:
    """A redis-server of the campaign, as seen from outside its host."""

    def __init__(self, pid, start, epoch, address, port):
        self.pid, self.start, self.epoch, self.address, self.port = pid, start, epoch, address, port
        self.redis = None

    def key(self):
        return self.pid, self.start

    def __repr__(self):
        return f'server {self.pid} of epoch {self.epoch} at {self.address}'


def servers_below(folder):
    """All redis-servers whose working directory is an epoch's folder of this campaign."""
    found = []
    pattern = re.compile(re.escape(os.fspath(folder)) + r'/epoch-(\d+)(\.new)?$')
    for pid in os.listdir('/proc'):
        if not pid.isdigit():
            continue
        try:
            with open(f'/proc/{pid}/stat') as f:
                name, _, rest = f.read().partition('(')[2].rpartition(')')
            if name != 'redis-server' or rest.split()[0] in 'ZX':
                continue
            place = pattern.match(os.readlink(f'/proc/{pid}/cwd'))
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                at = re.match(rb'.* ([\d.]+):(\d+)', f.read().replace(b'\0', b' '))
        except OSError:
            continue
        if place and at:
            found.append(Server(int(pid), rest.split()[19], int(place[1]), at[1].decode(), int(at[2])))
    return found


class WriteWatch(threading.Thread):
    """
    Tries a write on every server of the campaign, all the time, each from within its own host, so that no cut keeps it
    away. Two accept them at the same time: the first, the second, and the first again. And who accepts one holds the
    lock.
    """

    def __init__(self, folder, violations):
        super().__init__(daemon=True)
        self.folder, self.violations = folder, violations
        self.passwords = {}  # by epoch
        self.known = {}      # servers by key, with their connections
        self.logs = {}       # redis.log of every epoch, by descriptors: pruning does not end them
        self.accepted = 0
        self.now = None      # (server, when it last accepted a write), for all to read
        self.epochs = []     # (epoch, when its first write was accepted, when the last one of another epoch was)
        self.end = threading.Event()

    def run(self):
        try:
            while not self.end.wait(0.1):
                self.tick()
        except BaseException as e:
            self.violations.add('harness', f'the watch on writes ended: {e!r}')

    def stop(self):
        self.end.set()
        self.join(30)
        for server in self.known.values():
            self._drop(server)

    def tick(self):
        self._learn()
        accepting = [s for s in self._servers() if self._writes(s)]
        for server in accepting:
            # One that dies gives its descriptors up before it is a zombie: but then it takes no write any more.
            if not holds_lock(server.pid) and self._writes(server):
                self.violations.add('lock', f'{server} accepts writes without the lock')
        if len(accepting) > 1 and self._writes(accepting[0]):
            self.violations.add('two-writers', f'{accepting[0]} and {accepting[1]} accept writes at the same time')
        for server in accepting:
            if not self.epochs or self.epochs[-1][0] < server.epoch:
                self.epochs.append((server.epoch, time.monotonic(), self.now[1] if self.now else None))
            self.now = (server, time.monotonic())

    def _learn(self):
        """The password is replaced by each leader; those of older ones are kept here."""
        try:
            password, epoch = (self.folder / 'secret').read_text().split('\n')[:2]
            self.passwords[int(epoch)] = password
        except (OSError, ValueError):
            pass
        for path in self.folder.glob('epoch-*/redis.log'):
            if path.parent.name not in self.logs:
                with contextlib.suppress(OSError):
                    self.logs[path.parent.name] = os.open(path, os.O_RDONLY)

    def _servers(self):
        found = {s.key(): s for s in servers_below(self.folder)}
        for key in list(self.known):
            if key not in found:
                self._drop(self.known.pop(key))
        for key, server in found.items():
            self.known.setdefault(key, server)
        return sorted(self.known.values(), key=lambda s: s.epoch)

    @staticmethod
    def _drop(server):
        if server.redis:
            server.redis.close()
            server.redis = None

    def _writes(self, server):
        """@return whether it accepted a write just now"""
        if server.epoch not in self.passwords or process_state(server.pid) == 'T':
            return False
        try:
            if not server.redis:
                with open(f'/proc/{server.pid}/ns/net') as f:
                    setns(f.fileno(), CLONE_NEWNET)
                server.redis = Probe(server.address, server.port, self.passwords[server.epoch])
            ok = server.redis('SET', 'chaos-probe', self.accepted) == b'OK'
            self.accepted += ok
            return ok
        except (OSError, AssertionError, ValueError):
            self._drop(server)
            return False

    def server_logs(self):
        """The servers' logs, also of epochs that were pruned: {epoch's folder: text}"""
        return {name: os.pread(fd, 1 << 20, 0).decode(errors='replace') for name, fd in self.logs.items()}

    def close_logs(self):
        for fd in self.logs.values():
            os.close(fd)
        self.logs = {}


class Probe(harness.Redis):
    """A client that does not wait for a server that is stopped."""

    def __init__(self, address, port, password):
        self.socket = socket.create_connection((address, port), PROBE_S)
        self.socket.settimeout(PROBE_S)
        self.file = self.socket.makefile('rb')
        assert self('AUTH', password) == b'OK'

    def reply(self):
        reply = super().reply()
        assert reply != b'', 'the connection was closed'
        return reply


class Sampler(threading.Thread):
    """
    Reads the status once a second, where the server is, and on another host. In every sample the identity holds; and
    as no settled result may be lost, what was counted once stays counted, whoever leads.
    """

    GROWING = ('discovered', 'succeeded', 'unneeded', 'gone')

    def __init__(self, round_):
        super().__init__(daemon=True)
        self.round = round_
        self.violations = round_.violations
        self.samples, self.live, self.missed = 0, 0, 0
        self.last, self.last_at = None, 0  # the last live status, and when it was asked for
        self.floor = None        # what it counted: it may only grow
        self.cut_epoch = None    # the append-only file of this epoch was cut: later ones may count less
        self.most_workers = 0
        self.log = open(round_.dir / 'samples.jsonl', 'w')
        self.end = threading.Event()
        self.rng = random.Random(round_.seed)

    def run(self):
        due = time.monotonic()
        try:
            while not self.end.is_set():
                home = self.round.server_host()
                others = [h for h in self.round.cluster.hosts if h is not home]
                for host in ([home] if home else []) + [self.rng.choice(others)]:
                    self.sample(host)
                due = max(due + 1, time.monotonic())
                self.end.wait(due - time.monotonic())
        except BaseException as e:
            self.violations.add('harness', f'the sampler ended: {e!r}')

    def stop(self):
        self.end.set()
        self.join(60)
        self.log.close()

    def sample(self, host):
        words = host.words(harness.BUILD / 'drover', '--config', self.round.site.conf, 'status', self.round.name,
                           '--json')
        began = time.monotonic()
        try:
            r = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               timeout=STATUS_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.missed += 1
            return
        if r.returncode != 0:
            self.missed += 1
            self.round.say(f'status on {host.name}: exit {r.returncode}: {r.stderr.decode(errors="replace").strip()}')
            return
        self.samples += 1
        try:
            status = json.loads(r.stdout)
        except ValueError:
            self.violations.add('identity', f'no JSON: {r.stdout[:200]!r}')
            return
        self.log.write(json.dumps({'at': round(began - self.round.began, 3), 'host': host.name, **status}) + '\n')
        self.log.flush()
        with self.violations.noting('identity'):
            harness.check_status(r.stdout)
        if status.get('live'):
            self.live += 1
            self.most_workers = max(self.most_workers, len(status['workers']))
            self._compare(status)
            self.last, self.last_at = status, began

    def _compare(self, status):
        now = {'epoch': status['epoch'], **{k: status['progress'][k] for k in self.GROWING}}
        if self.cut_epoch is not None and now['epoch'] > self.cut_epoch:
            self.cut_epoch = self.floor = None
        fell = [k for k in now if self.floor and now[k] < self.floor[k]]
        if fell:
            self.violations.add('lost', f'{", ".join(fell)} fell: {self.floor}, then {now}')
        self.floor = now
