# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of HSM events share: a real server on a socket of its own that can be killed and come back, and events."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading

from harness import BUILD, PATIENCE, until

NOW = 1759396325
# A build with a sanitizer: its programs take more memory, and others cannot use its library.
_PROGRAM = (BUILD / 'hsm-stream-tail').read_bytes() if (BUILD / 'hsm-stream-tail').exists() else b''
SANITIZED = b'__asan_init' in _PROGRAM or b'__tsan_init' in _PROGRAM


class Error(Exception):
    """What the server refused."""


class Server:
    """A redis-server that keeps what it has when it is killed."""

    def __init__(self, folder, db=1):
        self.dir, self.db, self.process = folder, db, None
        self.path = os.path.join(folder, 's')
        if len(self.path) > 100:
            # The folder's own path is too long for a socket.
            self.path = f'/tmp/drover-hsm-{os.getpid()}-{id(self)}'
        self.url = f'unix://{self.path}?db={db}'
        self.port = None
        self.start()

    def start(self, port=0):
        words = ['redis-server', '--port', str(port), '--bind', '127.0.0.1', '--unixsocket', self.path, '--dir', self.dir,
                 '--save', '', '--appendonly', 'yes', '--appendfsync', 'no']
        with open(os.path.join(self.dir, 'redis.log'), 'ab') as log:
            self.process = subprocess.Popen([os.fspath(w) for w in words], stdout=log, stderr=log)
        self.port = port or None
        self.client = until('redis-server answers', self.connect)

    def connect(self):
        with contextlib.suppress(OSError, Error):
            client = Client(self.path)
            if client('PING') == b'PONG':
                client('SELECT', self.db)
                return client
        return None

    def kill(self, how=signal.SIGKILL):
        if self.process:
            self.client.close()
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            self.process = None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def forget(self):
        """What was kept is gone. While it is dead."""
        subprocess.run(['rm', '-rf', os.path.join(self.dir, 'appendonlydir')], check=True)

    def __call__(self, *words):
        return self.client(*words)

    def add(self, key, event, id='*'):
        """@return the entry's id"""
        data = event if isinstance(event, (bytes, str)) else json.dumps(event)
        return self('XADD', key, id, 'data', data).decode()


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.file = self.socket.makefile('rb')
        self.lock = threading.Lock()

    def __call__(self, *words):
        with self.lock:
            self.socket.sendall(self.words(words))
            return self.reply()

    def pipeline(self, commands):
        with self.lock:
            self.socket.sendall(b''.join(self.words(c) for c in commands))
            return [self.reply() for _ in commands]

    @staticmethod
    def words(words):
        out = b'*%d\r\n' % len(words)
        for w in words:
            w = w if isinstance(w, bytes) else str(w).encode()
            out += b'$%d\r\n%s\r\n' % (len(w), w)
        return out

    def reply(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError
        kind, rest = line[:1], line[1:-2]
        if kind == b'-':
            raise Error(rest.decode())
        if kind == b'$':
            n = int(rest)
            return None if n < 0 else self.file.read(n + 2)[:-2]
        if kind == b'*':
            return None if rest == b'-1' else [self.reply() for _ in range(int(rest))]
        return int(rest) if kind == b':' else rest

    def close(self):
        self.file.close()
        self.socket.close()


def event(n=1, kind='NEW', action='ARCHIVE', status='WAITING', mdt='fs-MDT0000', **more):
    """As the shipper of the documented system writes it."""
    fid = more.pop('fid', f'0x200000402:0x{n:x}:0x0')
    body = {'event_type': kind, 'mdt': mdt, 'cat_idx': 1, 'rec_idx': n, 'timestamp': NOW, 'fid': fid, 'action': action,
            'status': 'PURGED' if kind == 'PURGED' else status, 'action_key': f'{fid}:{action}'}
    body.update({'hash': 'h'} if kind == 'PURGED' else {'raw': f'lrh=[type=10680000 len=136 idx=1/{n}] fid=[{fid}]'})
    body.update(more)
    return {k: v for k, v in body.items() if v is not None}


class Follower:
    """A program that goes on, and its lines as they come."""

    def __init__(self, *words, env=None, stdout=subprocess.PIPE):
        self.lines, self.errors = [], []
        self.process = subprocess.Popen([os.fspath(w) for w in words], stdout=stdout, stderr=subprocess.PIPE, env=env)
        self.threads = [threading.Thread(target=self.follow, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors)) if pair[0]]
        for t in self.threads:
            t.start()

    @staticmethod
    def follow(stream, lines):
        for line in stream:
            lines.append(line.decode(errors='backslashreplace').rstrip('\n'))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def until(self, what, fn):
        """Waits until fn(lines) is true."""
        try:
            return until(what, lambda: fn(self.lines))
        except AssertionError as e:
            raise AssertionError(f'{e}; lines {self.lines[-20:]}; stderr {self.errors[-20:]}') from None

    def n_lines(self, n):
        self.until(f'{n} lines', lambda lines: len(lines) >= n)
        return list(self.lines)

    def end(self, how=signal.SIGTERM):
        """@return the exit code"""
        self.process.send_signal(how)
        code = self.process.wait(PATIENCE)
        for t in self.threads:
            t.join(PATIENCE)
        return code


def program(name):
    """A program of the tests, which lies beside the tests in the build folder."""
    return BUILD.parent / 'tests' / 'integration' / name
