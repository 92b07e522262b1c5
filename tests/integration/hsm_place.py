# SPDX-License-Identifier: LGPL-2.1-or-later
"""A place with actions files, a server, and shippers with caches of their own; and what the streams say, strictly."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading

import hsm
from harness import BUILD, PATIENCE, until

SHIPPER = BUILD / 'hsm-action-shipper'
SNAPSHOTS = pathlib.Path(__file__).resolve().parents[1] / 'unit' / 'data' / 'hsm-actions.txt'


def snapshots():
    """The lists of lines that a real MDT had, one after the other."""
    parts = SNAPSHOTS.read_text().split('# snapshot ')[1:]
    return [part.splitlines()[1:] for part in parts]


def line(rec, cat=1, fid=None, cookie=None, action='ARCHIVE', status='WAITING', dfid=None, flags='0x0'):
    fid = fid or f'0x200000402:0x{rec:x}:0x0'
    cookie = 0x6b02b268 + rec if cookie is None else cookie
    return (f'lrh=[type=10680000 len=136 idx={cat}/{rec}] fid=[{fid}] dfid=[{dfid or fid}] compound/cookie=0x0/0x{cookie:x} '
            f'action={action} archive#=1 flags={flags} extent=0x0-0xffffffffffffffff gid=0x0 datalen=0 status={status} data=[]')


class Wrong(AssertionError):
    """The stream says what cannot be."""


def replay(events):
    """
    {(cat, rec): raw} of what is live after all events. What a shipper must never do is an error: a NEW of what is live, an UPDATE of what
    is not or that changes nothing, a PURGED of what is not live or of another request.
    """
    live = {}
    for id, e in events:
        key = e['cat_idx'], e['rec_idx']
        there = live.get(key)
        if e['event_type'] == 'NEW':
            if there:
                raise Wrong(f'{id}: NEW of {key}, which is live: {e}')
        elif e['event_type'] == 'UPDATE':
            if not there or there['raw'] == e['raw'] or there['action_key'] != e['action_key']:
                raise Wrong(f'{id}: UPDATE of {there}: {e}')
        elif e['event_type'] == 'PURGED':
            if not there or there['action_key'] != e['action_key'] or e['status'] != 'PURGED':
                raise Wrong(f'{id}: PURGED of {there}: {e}')
            del live[key]
            continue
        live[key] = e
    return {key: e['raw'] for key, e in live.items()}


class Place:
    def __init__(self, folder, server=None):
        self.dir = pathlib.Path(folder)
        self.own_server = server is None
        self.server = server or hsm.Server(folder)
        self.daemons = []

    def close(self):
        for d in self.daemons:
            if d.poll() is None:
                d.kill()
            d.wait()
        if self.own_server:
            self.server.kill()

    def path(self, mdt='fs-MDT0000', host='mds1'):
        return self.dir / host / mdt / 'hsm' / 'actions'

    def write(self, lines, mdt='fs-MDT0000', host='mds1', end='\n'):
        path = self.path(mdt, host)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = lines if isinstance(lines, bytes) else ''.join(x + end for x in lines).encode()
        path.write_bytes(text)

    def remove(self, mdt='fs-MDT0000', host='mds1'):
        self.path(mdt, host).unlink()

    def move(self, host, to, mdt='fs-MDT0000'):
        self.path(mdt, to).parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.path(mdt, host), self.path(mdt, to))

    def cache(self, host='mds1'):
        return self.dir / f'{host}.cache'

    def config(self, host='mds1', **more):
        keys = {'redis_url': self.server.url, 'mdt_watch_glob': f'{self.dir}/{host}/*-MDT????/hsm/actions',
                'cache_path': self.cache(host), 'poll_interval': 0.02, 'log_level': 'DEBUG'}
        keys.update(more)
        path = self.dir / f'{host}.yaml'
        path.write_text(''.join(f'{k}: {json.dumps(str(v)) if not isinstance(v, (int, float, bool)) else json.dumps(v)}\n'
                                for k, v in keys.items() if v is not None))
        return path

    def run(self, *words, host='mds1', code=0, **more):
        """One cycle; its log."""
        done = subprocess.run([SHIPPER, '-c', self.config(host, **more), '--run-once', *words], capture_output=True, text=True,
                              errors='backslashreplace', timeout=PATIENCE)
        assert done.returncode == code, done.stderr
        return done.stderr

    def start(self, host='mds1', env=None, **more):
        log = open(self.dir / f'{host}.log', 'ab')
        process = subprocess.Popen([SHIPPER, '-c', self.config(host, **more)], stdout=log, stderr=log, env=env)
        log.close()
        self.daemons.append(process)
        return process

    def log(self, host='mds1'):
        return (self.dir / f'{host}.log').read_text(errors='backslashreplace')

    def key(self, mdt='fs-MDT0000'):
        return f'hsm:actions:{mdt}'

    def events(self, mdt='fs-MDT0000', after='-'):
        """[(id, event)]"""
        entries = self.server('XRANGE', self.key(mdt), after, '+')
        return [(id.decode(), json.loads(fields[1])) for id, fields in entries]

    def brief(self, mdt='fs-MDT0000', skip=0):
        """['NEW 1/2 ARCHIVE WAITING', ...]"""
        return [f"{e['event_type']} {e['cat_idx']}/{e['rec_idx']} {e['action']} {e['status']}"
                for _, e in self.events(mdt)[skip:]]

    def live(self, mdt='fs-MDT0000'):
        return replay(self.events(mdt))

    def is_live(self, lines, mdt='fs-MDT0000'):
        assert sorted(self.live(mdt).values()) == sorted(lines)

    def until_live(self, lines, mdt='fs-MDT0000'):
        until(f'{len(lines)} lines live', lambda: sorted(self.live(mdt).values()) == sorted(lines))


class Proxy:
    """
    A server's socket in front of another's. `cut(words, when)`: the next command with that word is handed on or not, its answer is not, and both
    connections end.
    """

    def __init__(self, folder, behind):
        self.path = os.path.join(folder, 'p')
        self.behind, self.word, self.when = behind, None, None
        self.n_cut = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(8)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def cut(self, word, when):
        self.word, self.when = word, when

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = socket.socket(socket.AF_UNIX)
        server.settimeout(PATIENCE)
        server.connect(self.behind)
        try:
            # The shipper sends a command only when it has the answer to the one before.
            words, answers = client.makefile('rb'), server.makefile('rb')
            while True:
                request = self.request(words)
                cut = self.word and self.word in request
                if not cut or self.when == 'after':
                    server.sendall(request)
                    answer = self.answer(answers)
                if cut:
                    self.word = None
                    self.n_cut += 1
                    return
                client.sendall(answer)
        except (OSError, EOFError):
            pass
        finally:
            client.close()
            server.close()

    @staticmethod
    def line(file):
        text = file.readline()
        if not text:
            raise EOFError
        return text

    def request(self, file):
        head = self.line(file)
        return head + b''.join(self.answer(file) for _ in range(int(head[1:])))

    def answer(self, file):
        head = self.line(file)
        if head[:1] == b'$' and int(head[1:]) >= 0:
            return head + file.read(int(head[1:]) + 2)
        if head[:1] == b'*' and int(head[1:]) > 0:
            return head + b''.join(self.answer(file) for _ in range(int(head[1:])))
        return head

    def close(self):
        self.socket.close()


def ended_within(process, seconds=PATIENCE, how=signal.SIGTERM):
    process.send_signal(how)
    return process.wait(seconds)
