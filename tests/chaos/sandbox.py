# SPDX-License-Identifier: LGPL-2.1-or-later
"""A chaos run lives in PID, mount and network namespaces of its own, so that nothing of it outlives it.

Hosts, bridge, mounts, loop device and processes all belong to these namespaces: when the first process in there ends,
by whatever death, the kernel takes everything away. What the kernel cannot do is to thaw a frozen file system, whose
writers not even SIGKILL ends; therefore a guard outside holds a descriptor of the shared folder, and thaws it when
all others are gone.
"""
import array
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

SKIPPED = 77  # exit status: this machine cannot run the suite
TOOLS = ('unshare', 'nsenter', 'mount', 'mkfs.ext4', 'fsfreeze', 'chattr', 'ip', 'tc', 'redis-server')
GUARD_FD = 'DROVER_CHAOS_GUARD_FD'
FOLDER = 'DROVER_CHAOS_FOLDER'
FITHAW = 0xc0045878
PR_SET_PDEATHSIG = 1
PATIENCE_S = 60  # for an orderly end after a signal


class Skip(Exception):
    """Why this machine cannot run the suite."""


def add_tools_to_path():
    os.environ['PATH'] = os.environ.get('PATH', '/usr/bin:/bin') + ':/usr/local/sbin:/usr/sbin:/sbin'


def why_not():
    """@return why the suite cannot run here; None: it can"""
    if sys.platform != 'linux' or os.geteuid() != 0:
        return 'root on Linux is needed, for namespaces, a bridge and a file system of its own'
    for tool in TOOLS:
        if not shutil.which(tool):
            return f'no {tool} in the PATH'
    if not os.path.exists('/dev/loop-control'):
        return 'no loop devices (/dev/loop-control)'
    script = 'ip link add t0 type bridge && ip link add t1 type veth peer name t2 && ip link set t1 master t0 && ' \
        'tc qdisc add dev t1 root blackhole'
    r = subprocess.run(['unshare', '--mount', '--net', '--uts', '--pid', '--fork', '--mount-proc', 'sh', '-c', script],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if r.returncode != 0:
        return 'namespaces with a bridge and a blackhole queue are refused: ' + \
            r.stdout.decode(errors='replace').strip().replace('\n', ' ')[-300:]
    return None


def suits_a_lab(folder):
    try:
        fd, path = tempfile.mkstemp(dir=folder)
        os.close(fd)
        try:
            os.setxattr(path, 'user.probe', b'1')
            with open(path, 'rb') as f:
                fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        finally:
            os.unlink(path)
        return True
    except OSError:
        return False


def make_folder():
    for top in (os.environ.get('TMPDIR'), tempfile.gettempdir(), '/var/tmp', os.getcwd()):
        if top and os.path.isdir(top) and suits_a_lab(top):
            return tempfile.mkdtemp(prefix='drover-chaos.', dir=top)
    raise Skip('no folder suits a lab: TMPDIR must lie on a local file system with user attributes and leases')


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def guard(fd):
    """Runs outside: waits until nobody holds the other end, then thaws what it was given."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    held = []
    with socket.socket(fileno=fd) as s:
        while True:
            data, fds, _, _ = socket.recv_fds(s, 16, 4)
            held += fds
            if not data:
                break
    for fd in held:
        try:
            fcntl.ioctl(fd, FITHAW, array.array('i', [0]))
        except OSError:
            pass  # it is not frozen


def tell_guard(path):
    """From within: this mount is to be thawed at the end."""
    number = os.environ.get(GUARD_FD)
    if number is None:
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(fileno=os.dup(int(number))) as s:
            socket.send_fds(s, [b'm'], [fd])
    finally:
        os.close(fd)


def inside():
    return FOLDER in os.environ


def enter(script, args):
    """Runs the script again, inside. @return its exit status"""
    add_tools_to_path()
    why = why_not()
    if why:
        raise Skip(why)
    folder = make_folder()
    ours, theirs = socket.socketpair()
    words = [sys.executable, '-B', '-c', f'import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n'
             f'import sandbox; sandbox.guard({theirs.fileno()})']
    watcher = subprocess.Popen(words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)
    theirs.close()
    os.set_inheritable(ours.fileno(), True)
    env = dict(os.environ, **{FOLDER: folder, GUARD_FD: str(ours.fileno()), 'PYTHONUNBUFFERED': '1'})
    # A session of its own: Ctrl-C comes through here only, once.
    inner = subprocess.Popen(['unshare', '--mount', '--net', '--uts', '--ipc', '--pid', '--fork', '--kill-child',
                              '--mount-proc', sys.executable, '-B', script, *args],
                             env=env, pass_fds=[ours.fileno()], stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
    ours.close()
    handlers = {n: signal.signal(n, lambda *_: None) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        return wait_for(inner)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        watcher.wait()
        subprocess.run(['rm', '-rf', '--', folder], check=False)


def wait_for(inner):
    """Until it ends; a signal that ends us ends it, in good order at first."""
    told = None

    def tell(number, _):
        nonlocal told
        told = told or number
        # unshare itself waits; the first process of the namespace is its only child.
        for pid in children_of(inner.pid):
            os.kill(pid, signal.SIGTERM)
        signal.alarm(PATIENCE_S)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, tell)
    signal.signal(signal.SIGALRM, lambda *_: inner.kill())
    status = inner.wait()
    signal.alarm(0)
    return 128 + told if told else status if status >= 0 else 128 - status


def children_of(parent):
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/stat') as f:
                if int(f.read().rpartition(')')[2].split()[1]) == parent:
                    found.append(int(pid))
        except OSError:
            pass
    return found
