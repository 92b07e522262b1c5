# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hosts that share one kernel and nothing else: each has its own network, host name, processes and /proc.

A host is a set of namespaces with an init of its own. A veth pair leads from it to a bridge. droverd takes a process
for one of its own machine when boot ID and PID namespace are the same: these hosts are foreign to each other.
"""
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

CLONE_NEWNET = 0x40000000
CLONE_NEWPID = 0x20000000
LIBC = ctypes.CDLL(None, use_errno=True)

# The first process of a host buries whoever lost its parent: servers, when their daemon is killed.
INIT = '''
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
os.write(1, b"up")
while True:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    signal.sigwait({signal.SIGCHLD})
'''


def setns(fd, kind):
    if LIBC.setns(fd, kind) != 0:
        raise OSError(ctypes.get_errno(), 'setns')


def command(*words, check=True):
    """A tool of the system. @return its exit status"""
    r = subprocess.run([str(w) for w in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT)
    if check and r.returncode != 0:
        raise RuntimeError(f'{words} -> {r.returncode}: {r.stdout.decode(errors="replace")}')
    return r.returncode


def process_state(pid):
    """R, S, D, T, Z...; None: it is gone"""
    try:
        with open(f'/proc/{pid}/stat') as f:
            return f.read().rpartition(')')[2].split()[0]
    except OSError:
        return None


class Host:
    """One of them. Its fields `daemon` and `wanted` belong to the keeper."""

    def __init__(self, number, subnet):
        self.name, self.port = f'node-{number:02d}', f'port{number}'
        self.address = f'{subnet}.{number}'
        self.daemon = None    # the droverd that runs there, a harness.Daemon
        self.env = {}         # what its processes get besides
        self.cut_ways = set()  # of 'both', 'deaf', 'mute', 'slow'
        with contextlib.ExitStack() as stack:
            stack.callback(setns, self._open_own('pid', stack), CLONE_NEWPID)
            if LIBC.unshare(CLONE_NEWPID) != 0:
                raise OSError(ctypes.get_errno(), 'unshare')
            script = f'import socket; socket.sethostname({self.name!r})\n{INIT}'
            self.init = subprocess.Popen(['unshare', '--net', '--uts', '--mount', '--mount-proc', sys.executable, '-S',
                                          '-c', script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.init.stdout.read(2) == b'up'
        self._plug(subnet)

    def _open_own(self, kind, stack):
        fd = os.open(f'/proc/self/ns/{kind}', os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, fd)
        return fd

    def _plug(self, subnet):
        command('ip', 'link', 'add', self.port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', self.init.pid)
        command('ip', 'link', 'set', self.port, 'master', 'bridge0', 'up')
        self.command('ip', 'link', 'set', 'lo', 'up')
        self.command('ip', 'address', 'add', f'{self.address}/24', 'dev', 'eth0')
        self.command('ip', 'link', 'set', 'eth0', 'up')

    def words(self, *words):
        """A command line that runs there; but not as a child of that host's init."""
        return ['nsenter', '-t', str(self.init.pid), '-n', '-u', '-m', '--', *map(str, words)]

    def command(self, *words, check=True):
        return command(*self.words(*words), check=check)

    @contextlib.contextmanager
    def as_parent(self):
        """Children of this thread are processes of the host meanwhile."""
        with contextlib.ExitStack() as stack:
            own = self._open_own('pid', stack)
            there = os.open(f'/proc/{self.init.pid}/ns/pid', os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, there)
            stack.callback(setns, own, CLONE_NEWPID)
            setns(there, CLONE_NEWPID)
            yield

    # the network

    def cut(self, way):
        """both: the link goes down; deaf: it sends, and hears nothing; mute: the other way; slow: a thin line."""
        self.cut_ways.add(way)
        if way == 'both':
            command('ip', 'link', 'set', self.port, 'down')
        elif way == 'deaf':
            command('tc', 'qdisc', 'replace', 'dev', self.port, 'root', 'blackhole')
        elif way == 'mute':
            self.command('tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'blackhole')
        else:
            thin = ('root', 'tbf', 'rate', '256kbit', 'burst', '3k', 'latency', '300ms')
            command('tc', 'qdisc', 'replace', 'dev', self.port, *thin)
            self.command('tc', 'qdisc', 'replace', 'dev', 'eth0', *thin)

    def heal(self):
        if 'both' in self.cut_ways:
            command('ip', 'link', 'set', self.port, 'up')
        if self.cut_ways & {'deaf', 'slow'}:
            command('tc', 'qdisc', 'delete', 'dev', self.port, 'root')
        if self.cut_ways & {'mute', 'slow'}:
            self.command('tc', 'qdisc', 'delete', 'dev', 'eth0', 'root')
        self.cut_ways = set()


class Cluster:
    """Some hosts on a bridge."""

    def __init__(self, n=4, subnet='10.213.77'):
        self.subnet = subnet + '.0/24'
        command('ip', 'link', 'set', 'lo', 'up')
        command('ip', 'link', 'add', 'bridge0', 'type', 'bridge')
        command('ip', 'link', 'set', 'bridge0', 'up')
        self.hosts = [Host(i + 1, subnet) for i in range(n)]

    def named(self, name):
        return next((h for h in self.hosts if h.name == name), None)

    def heal(self):
        for host in self.hosts:
            host.heal()

    def close(self):
        """With its init all of a host ends."""
        for host in self.hosts:
            host.init.kill()
        for host in self.hosts:
            host.init.wait()


class Share:
    """The shared folder: a small file system, so that it can be full, frozen and unwritable."""

    def __init__(self, folder, size_mib=256):
        image = folder / 'share.img'
        self.path = folder / 'share'
        self.path.mkdir()
        with open(image, 'wb') as f:
            f.truncate(size_mib << 20)
        command('mkfs.ext4', '-q', '-m', '0', image)
        command('mount', '-o', 'loop', image, self.path)
        self.frozen = False
        self.filler = None
        self.end_filling = None
        self.immutable = None

    def fill(self):
        """Full at once, and kept so: what others free is taken too."""
        fd = os.open(self.path / 'filler', os.O_WRONLY | os.O_CREAT, 0o600)
        self.end_filling = threading.Event()
        self._take_all(fd)
        self.filler = threading.Thread(target=self._keep_full, args=(fd, self.end_filling), daemon=True)
        self.filler.start()

    def _take_all(self, fd):
        for size in (1 << 20, 65536, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.write(fd, bytes(size))
        with contextlib.suppress(OSError):
            os.fsync(fd)

    def _keep_full(self, fd, end):
        while not end.wait(0.1):
            self._take_all(fd)
        os.close(fd)
        os.unlink(self.path / 'filler')

    def drain(self):
        if self.filler:
            self.end_filling.set()
            self.filler.join()
            self.filler = None

    def forbid_writing(self, folder):
        """
        Descriptors that are open for writing forbid a read-only remount; but what is immutable refuses writes by them
        as well (EPERM). The tree changes while it is marked, therefore twice.
        """
        self.immutable = folder
        for _ in range(2):
            command('chattr', '-R', '-f', '+i', folder, check=False)

    def allow_writing(self):
        if self.immutable:
            for _ in range(2):
                command('chattr', '-R', '-f', '-i', self.immutable, check=False)
            self.immutable = None

    def freeze(self):
        self.frozen = True
        command('fsfreeze', '-f', self.path)

    def thaw(self):
        if self.frozen:
            command('fsfreeze', '-u', self.path)
            self.frozen = False

    def heal(self):
        self.thaw()
        self.allow_writing()
        self.drain()


def holds_lock(pid, name='leader.lock'):
    """Whether one of the process's open file descriptions holds the lock on a file of that name."""
    try:
        for fd in os.listdir(f'/proc/{pid}/fd'):
            with contextlib.suppress(OSError):
                if os.path.basename(os.readlink(f'/proc/{pid}/fd/{fd}')) == name:
                    with open(f'/proc/{pid}/fdinfo/{fd}') as f:
                        if any(line.startswith('lock:') and 'WRITE' in line for line in f):
                            return True
    except OSError:
        pass
    return False


def send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill(pid, patience=10):
    """SIGKILL. A process in the middle of a write to a frozen file system goes when that ends."""
    send(pid, signal.SIGKILL)
    end = time.monotonic() + patience
    while process_state(pid) not in (None, 'Z', 'X') and time.monotonic() < end:
        time.sleep(0.002)
