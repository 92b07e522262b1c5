# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the integration tests share: a place with a lab and a configuration, and the real programs on it.

The programs are those in $DROVER_BUILD (a folder with the programs, or a build folder with bin/ in it), or build/bin of
the repository. Every process that a test starts is ended with the test, and its servers with it.
"""
import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('DROVER_BUILD', REPO / 'build' / 'bin'))
if not (BUILD / 'droverd').exists() and (BUILD / 'bin' / 'droverd').exists():
    BUILD = BUILD / 'bin'
ROOT = os.geteuid() == 0
MIB = 1 << 20
FINAL = ('completed', 'completed_with_leftovers', 'dry_run_completed', 'failed')
# Of a loaded machine with a slow disk; a test that needs as long fails a bound of its own.
PATIENCE = float(os.environ.get('DROVER_TEST_PATIENCE', 90))


def until(what, fn, timeout=PATIENCE, every=0.01):
    """Polls until fn() is true, and returns what it said; fails after the time-out."""
    end = time.monotonic() + timeout
    while True:
        value = fn()
        if value:
            return value
        assert time.monotonic() < end, f'not within {timeout} s: {what}'
        time.sleep(every)


def text_of(data):
    return data.decode(errors='backslashreplace')


def escape(name):
    """Bytes as the programs print them: what is not printable UTF-8 as \\n, \\t, \\r or \\xNN."""
    out = ''
    for c in name.decode(errors='surrogateescape'):
        special = {'\n': '\\n', '\t': '\\t', '\r': '\\r', '\\': '\\\\'}.get(c)
        if special:
            out += special
        elif 0xdc80 <= ord(c) <= 0xdcff or ord(c) < 0x20 or ord(c) == 0x7f:
            out += '\\x%02x' % (ord(c) & 0xff)
        else:
            out += c
    return out


class Result:
    """How a program ended."""

    def __init__(self, args, code, out, err):
        self.args, self.code, self.raw = args, code, out
        self.out, self.err = text_of(out), text_of(err)

    def __repr__(self):
        return f'{self.args} -> {self.code}\nstdout: {self.out[-3000:]}\nstderr: {self.err[-3000:]}'


def run(program, *args, check=0, timeout=PATIENCE, env=None, cwd=None, data=None):
    """Runs a program to its end. check: the exit code it must have; None: any."""
    words = [os.fspath(BUILD / program), *[a if isinstance(a, bytes) else os.fspath(a) if isinstance(a, os.PathLike)
                                           else str(a) for a in args]]
    p = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, env=env, cwd=cwd,
                       input=data or b'')
    result = Result(words, p.returncode, p.stdout, p.stderr)
    assert check is None or p.returncode == check, f'exit {p.returncode}, not {check}: {result}'
    return result


# --- trees ----------------------------------------------------------------------------------------------------------

def walk(top):
    """Every entry below top as (path, directory's descriptor, name, stat), by descending: paths of any length."""
    stack = [(b'', os.open(top, os.O_RDONLY | os.O_DIRECTORY))]
    while stack:
        path, fd = stack.pop()
        try:
            for name in sorted(os.listdir(fd)):
                name = os.fsencode(name)
                st = os.stat(name, dir_fd=fd, follow_symlinks=False)
                where = path + b'/' + name if path else name
                yield where, fd, name, st
                if stat.S_ISDIR(st.st_mode):
                    stack.append((where, os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)))
        finally:
            os.close(fd)


def facts(top, content=False, inode=False):
    """Everything about a tree that a move must leave as it is: {path: facts}."""
    found = {}
    for path, fd, name, st in walk(top):
        fact = {'mode': st.st_mode, 'owner': (st.st_uid, st.st_gid), 'mtime': st.st_mtime_ns}
        if inode:
            fact['inode'] = st.st_ino
        if stat.S_ISLNK(st.st_mode):
            fact['target'] = os.readlink(name, dir_fd=fd)
        if stat.S_ISREG(st.st_mode):
            fact['size'], fact['links'] = st.st_size, st.st_nlink
        if stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)
            fact['xattrs'] = {x: os.getxattr(file, x) for x in os.listxattr(file) if x != 'user.lov'}
            if content and stat.S_ISREG(st.st_mode):
                with open(os.dup(file), 'rb') as f:
                    fact['sha256'] = hashlib.sha256(f.read()).hexdigest()
            os.close(file)
        found[path] = fact
    return found


def assert_same(before, after, what):
    """Two results of facts(), with a readable difference."""
    missing, new = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    assert not missing and not new, f'{what}: missing {missing[:5]}, new {new[:5]}'
    for path in before:
        assert before[path] == after[path], f'{what}: {path!r}:\n{before[path]}\n{after[path]}'


def names_below(top):
    """All of a folder, with sizes and contents' hashes: two of these are equal when nothing happened there."""
    if not os.path.lexists(top):
        return None
    return {p: (v['mode'], v['mtime'], v.get('sha256')) for p, v in facts(top, content=True).items()}


REMOVERS = []


def remove_tree(top):
    """In the background, for disks are slow at it, and by rm, which knows paths of any length."""
    if os.path.lexists(top):
        REMOVERS.append(subprocess.Popen(['rm', '-rf', os.fspath(top)], stdin=subprocess.DEVNULL))


def await_removers():
    for remover in REMOVERS:
        remover.wait()


# --- processes ------------------------------------------------------------------------------------------------------

def processes_below(folder):
    """Processes that work below a folder: {pid: command line}. A server's working directory is its epoch's folder."""
    found = {}
    prefix = os.fspath(folder) + '/'
    for pid in os.listdir('/proc'):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        try:
            with open(f'/proc/{pid}/stat') as f:
                if f.read().rpartition(')')[2].split()[0] in 'ZX':
                    continue
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                words = f.read().split(b'\0')
            cwd = os.readlink(f'/proc/{pid}/cwd')
        except OSError:
            continue
        ours = os.path.basename(words[0]) == b'droverd' and any(os.fsencode(prefix) in w for w in words[1:])
        if ours or (cwd + '/').startswith(prefix):
            found[int(pid)] = text_of(b' '.join(words))
    return found


@contextlib.contextmanager
def stopped(*pids):
    """Processes that are there and do nothing; those that live go on after it."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)


class Daemon:
    """A droverd of a test."""

    def __init__(self, site, name, args, env=None, program='droverd'):
        site.count += 1
        self.site, self.name = site, name
        self.log_path = site.dir / 'daemon-logs' / f'{name}.{site.count}.log'
        self.log_path.parent.mkdir(exist_ok=True)
        words = [os.fspath(BUILD / program), '--config', os.fspath(site.conf)]
        words += ['--campaign', name] if program == 'droverd' else ['run', name]
        with open(self.log_path, 'wb') as log:
            self.process = subprocess.Popen(words + [str(a) for a in args], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=env)
        self.pid = self.process.pid

    def alive(self):
        return self.process.poll() is None

    def log(self):
        return text_of(self.log_path.read_bytes())

    def kill(self):
        """SIGKILL, and buried."""
        self.process.kill()
        return self.process.wait(10)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self, timeout=PATIENCE):
        """Its exit status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'the daemon {self.pid} has not ended within {timeout} s') from None

    def memory(self, field='VmHWM'):
        with open(f'/proc/{self.pid}/status') as f:
            return [int(line.split()[1]) * 1024 for line in f if line.startswith(field + ':')][0]


class Redis:
    """As much of a client as the tests need."""

    def __init__(self, address, port, password):
        self.socket = socket.create_connection((address, port), 5)
        self.file = self.socket.makefile('rb')
        assert self('AUTH', password) == b'OK'

    def __call__(self, *words):
        out = b'*%d\r\n' % len(words)
        for w in words:
            w = w if isinstance(w, bytes) else str(w).encode()
            out += b'$%d\r\n%s\r\n' % (len(w), w)
        self.socket.sendall(out)
        return self.reply()

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b'$':
            n = int(rest)
            return None if n < 0 else self.file.read(n + 2)[:-2]
        if kind == b'*':
            return [self.reply() for _ in range(int(rest))]
        assert kind != b'-', rest
        return int(rest) if kind == b':' else rest

    def info(self, section):
        pairs = (line.partition(b':') for line in self('INFO', section).splitlines())
        return {k.decode(): v.decode() for k, sep, v in pairs if sep}

    def close(self):
        self.file.close()
        self.socket.close()


# --- status ---------------------------------------------------------------------------------------------------------

KEYS = ['campaign', 'kind', 'state', 'leader', 'epoch', 'workers', 'osts', 'progress', 'scan', 'rates', 'eta_seconds']
PROGRESS = ['discovered', 'succeeded', 'unneeded', 'skipped', 'failed', 'gone', 'pending', 'in_progress', 'bytes_succeeded']
SCAN = ['pending', 'active', 'entries']
RATES = ['files_per_sec', 'bytes_per_sec', 'scanned_per_sec']


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_status(raw):
    """Every status that any test reads passes through here. @return it, parsed"""
    assert raw.count(b'\n') == 1 and raw.endswith(b'\n'), f'not one line: {raw[:500]!r}'
    status = json.loads(raw)
    assert isinstance(status, dict)
    assert [k for k in KEYS if k not in status] == [], status
    progress = status['progress']
    assert [k for k in PROGRESS if not is_count(progress.get(k))] == [], progress
    assert [k for k in SCAN if not is_count(status['scan'].get(k))] == [], status['scan']
    assert [k for k in RATES if not isinstance(status['rates'].get(k), (int, float))] == [], status['rates']
    assert is_count(status['epoch'])
    host = status['leader']
    assert isinstance(host, str) and not set(host) & set(':./@ \t'), f'no bare host name: {host!r}'
    assert isinstance(status['workers'], list)
    eta = status['eta_seconds']
    assert eta is None or (isinstance(eta, (int, float)) and eta >= 0), eta
    settled = ['succeeded', 'unneeded', 'skipped', 'failed', 'gone', 'pending', 'in_progress']
    assert progress['discovered'] == sum(progress[k] for k in settled), f'the identity is broken: {progress}'
    if status['state'] in FINAL:
        assert progress['pending'] == 0 and progress['in_progress'] == 0, progress
    return status


class Sampler(threading.Thread):
    """Reads the status as fast as it can, until it is told to stop; counts of a live campaign may only grow."""

    def __init__(self, site, name):
        super().__init__(daemon=True)
        self.site, self.name_ = site, name
        self.samples, self.live, self.error = 0, 0, None
        self.most_workers = 0
        self.states = set()
        self.end = threading.Event()

    def run(self):
        last = (0, 0, 0)
        try:
            while not self.end.is_set():
                status = self.site.status(self.name_)
                self.samples += 1
                self.states.add(status['state'])
                if status.get('live'):
                    self.live += 1
                    self.most_workers = max(self.most_workers, len(status['workers']))
                    now = (status['epoch'], status['progress']['discovered'], status['progress']['succeeded'])
                    assert all(a >= b for a, b in zip(now, last)), f'epoch, discovered or succeeded fell: {last} {now}'
                    last = now
        except BaseException as e:  # told by stop(), in the test's own thread
            self.error = e

    def stop(self):
        self.end.set()
        self.join(PATIENCE)
        if self.error:
            raise self.error
        return self


# --- the place ------------------------------------------------------------------------------------------------------

def suits_a_lab(folder):
    probe = pathlib.Path(folder) / '.probe'
    try:
        probe.write_bytes(b'')
        os.setxattr(probe, 'user.probe', b'1')
        return True
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


class Site:
    """A folder with a lab, a configuration and campaigns, and all that a test does with them."""

    def __init__(self, folder):
        self.dir = pathlib.Path(folder)
        self.lab_dir = self.dir / 'lab'
        self.ns = self.lab_dir / 'ns'
        self.tree = self.dir / 'tree'
        self.base = self.dir / 'base'
        self.conf = self.dir / 'drover.conf'
        self.count = 0
        self.daemons = []
        self.samplers = []
        # First choices only: droverd takes others when these are in use.
        self.options = {'base_path': self.base, 'redis_port': random.randrange(20000, 29000),
                        'metrics_port': random.randrange(30000, 39000), 'retry_delays': '1,1,1', 'scan_batch_size': 50,
                        'scan_workers': 2, 'migration_workers': 2}
        self.configure()

    def configure(self, **options):
        self.options.update(options)
        lines = [f'{k} = {v}\n' for k, v in self.options.items() if v is not None]
        self.conf.write_text('[main]\n' + ''.join(lines))

    # the lab

    def lab(self, *args, check=0, **more):
        return run('drover-lab', args[0], self.lab_dir, *args[1:], check=check, timeout=300, **more)

    def make(self, osts=8, size=None):
        self.lab('create', '--osts', osts, *(['--ost-size', size] if size else []))

    def set(self, ost, state, **options):
        words = [w for k, v in options.items() for w in ('--' + k.replace('_', '-'), v)]
        self.lab('set', '--ost', ost, '--state', state, *words)

    def only_on(self, osts, total, then):
        """Runs then() while nothing but these OSTs takes new objects."""
        others = [o for o in range(total) if o not in osts]
        for o in others:
            self.set(o, 'closed')
        then()
        for o in others:
            self.set(o, 'up')

    def objects(self, *osts):
        """Objects in the folders of these OSTs: {path: inode of the file that each was made for}."""
        found = {}
        for ost in osts:
            top = self.lab_dir / f'OST{ost:04x}'
            for d, _, names in os.walk(top):
                for name in names:
                    seq, oid, _ = name.partition(':')[2].split('.')
                    found[os.path.join(d, name)] = (int(seq, 16) - 0x200000400 << 32) + int(oid, 16)
        return found

    def objects_of(self, path, *osts):
        inode = os.stat(path).st_ino
        return [o for o, owner in self.objects(*osts).items() if owner == inode]

    def names_on(self, *osts):
        """Names in the name space of the files with an object on these OSTs: {path: inode}."""
        inodes = set(self.objects(*osts).values())
        return {path: st.st_ino for path, _, _, st in walk(self.ns) if st.st_ino in inodes and stat.S_ISREG(st.st_mode)}

    def digest(self):
        return self.lab('digest').raw

    def check(self):
        return self.lab('check')

    def df(self):
        return json.loads(self.lab('df', '--json').raw)

    def used(self):
        return [(o['used_bytes'], o['objects']) for o in self.df()['osts']]

    def export(self, name='out'):
        out = self.dir / name
        self.lab('export', out)
        return out

    # campaigns

    def drover(self, *args, check=0, **more):
        return run('drover', '--config', self.conf, *args, check=check, **more)

    def start(self, name='evac', osts='0-1', scan=None, exclude=(), check=0, **more):
        words = ['start', '--name', name, '--osts', osts]
        for path in scan or [self.ns]:
            words += ['--scan-path', path]
        for path in exclude:
            words += ['--exclude-path', path]
        if more.pop('dry_run', False):
            words.append('--dry-run')
        return self.drover(*words, check=check, **more)

    def daemon(self, name='evac', *args, **more):
        daemon = Daemon(self, name, args, **more)
        self.daemons.append(daemon)
        return daemon

    def status(self, name='evac'):
        return check_status(self.drover('status', name, '--json').raw)

    def state(self, name='evac'):
        return self.status(name)['state']

    def progress(self, name='evac'):
        return self.status(name)['progress']

    def sampler(self, name='evac'):
        sampler = Sampler(self, name)
        self.samplers.append(sampler)
        sampler.start()
        return sampler

    def report(self, name='evac', *args):
        raw = self.drover('report', name, '--json', *args).raw
        assert raw.count(b'\n') == 1
        return json.loads(raw)

    def wait(self, name='evac', timeout=PATIENCE):
        """The exit status of wait. It fails at once when nobody is left to wait for."""
        words = [BUILD / 'drover', '--config', self.conf, 'wait', name, '--timeout', str(int(timeout))]
        daemons = [d for d in self.daemons if d.name == name]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        alone = None
        try:
            while process.poll() is None:
                if timeout > 5 and daemons and not any(d.alive() for d in daemons):
                    alone = alone or time.monotonic() + 3
                    assert time.monotonic() < alone, f'all daemons have ended, and {name!r} is not over: ' \
                        f'{[d.process.returncode for d in daemons]}\n{daemons[-1].log()}'
                time.sleep(0.005)
        finally:
            process.kill()
            process.wait()
        return process.returncode

    def ended(self, timeout=20):
        """All daemons that run go by themselves, and their servers with them."""
        for daemon in self.daemons:
            if daemon.alive():
                assert daemon.ended(timeout) == 0
        until('no process of the campaign is left', lambda: not processes_below(self.dir), 5)

    def running(self, name='evac', workers=1):
        """Waits until the campaign has a leader and so many workers."""
        def look():
            status = self.status(name)
            return status.get('live') and len(status['workers']) >= workers and status
        return until(f'{workers} workers', look)

    def leader(self, name='evac'):
        """The daemon that leads, by the announcement; None when nobody does."""
        try:
            pid = json.loads((self.base / name / 'leader.info').read_text())['pid']
        except (OSError, ValueError):
            return None
        return next((d for d in self.daemons if d.pid == pid and d.alive()), None)

    def servers(self, name='evac'):
        """The campaign's own servers that run: {pid: epoch}."""
        found = {}
        for pid in processes_below(self.base / name):
            with contextlib.suppress(OSError):
                folder = os.path.basename(os.readlink(f'/proc/{pid}/cwd'))
                if folder.startswith('epoch-'):
                    found[pid] = int(folder.removeprefix('epoch-').partition('.')[0])
        return found

    def redis(self, name='evac'):
        info = json.loads((self.base / name / 'leader.info').read_text())
        password = (self.base / name / 'secret').read_text().splitlines()[0]
        return Redis(info['address'], info['port'], password)

    def audit(self, name, kind):
        """Paths in the logs of what succeeded or failed, as they stand there (escaped)."""
        lines = []
        for log in sorted((self.base / name / 'logs').glob(f'*.{kind}.log')):
            lines += text_of(log.read_bytes()).splitlines()
        return lines

    def audit_paths(self, name='evac', kind='succeeded'):
        return [line.partition(' path="')[2][:-1] for line in self.audit(name, kind)]

    # the whole proof

    def assert_empty(self, *osts):
        left = self.objects(*osts)
        assert left == {}, f'{len(left)} objects are left: {sorted(left)[:5]}'

    def assert_moved(self, name='evac', osts=(0, 1), timeout=PATIENCE):
        """Completed, nothing on the sources, nothing leaked."""
        code = self.wait(name, timeout)
        assert code == 0, f'wait: {code}: {self.status(name)}\n{self.drover("report", name).out}'
        self.ended()
        assert self.state(name) == 'completed'
        # It also frees what was removed with rm(1), so it comes before the search for objects.
        report = self.report(name)
        assert {o['ost']: (o['ready_to_remove'], o['objects'], o['files_left']) for o in report['osts']} == \
            {o: (True, 0, 0) for o in osts}, report
        self.assert_empty(*osts)
        self.check()
        return self.status(name)

    # the end

    def close(self):
        """@return what should have gone by itself"""
        for sampler in self.samplers:
            sampler.end.set()
        for daemon in self.daemons:
            if daemon.alive():
                daemon.process.kill()
                daemon.process.wait()
        end = time.monotonic() + 5
        while (left := processes_below(self.dir)) and time.monotonic() < end:
            time.sleep(0.02)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for sampler in self.samplers:
            sampler.join(10)
        return left

    def logs(self):
        """For the report of a test that failed."""
        found = []
        for path in sorted((self.dir / 'daemon-logs').glob('*')) + sorted(self.base.glob('*/epoch-*/redis.log')) + \
                sorted(self.base.glob('*/logs/*.droverd.log')) + sorted(self.base.glob('*/status.json')):
            lines = text_of(path.read_bytes()).splitlines()
            found.append((os.fspath(path.relative_to(self.dir)), '\n'.join(lines[-40:])))
        return found


def make_files(top, n, sizes=(0, 40000), dirs=20, seed=1):
    """A tree of n files with random contents."""
    rng = random.Random(seed)
    top = pathlib.Path(top)
    for i in range(n):
        folder = top / f'dir{i % dirs:03d}' / f'sub{i % 3}'
        if i < dirs * 3:
            folder.mkdir(parents=True, exist_ok=True)
        (folder / f'file{i:05d}').write_bytes(rng.randbytes(rng.randint(*sizes)))


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def copy_programs_tree():
    """A real tree found on the machine, or None."""
    for path in ('/usr/share/doc', '/usr/share/perl', '/usr/share'):
        if os.path.isdir(path):
            return path
    return None


def take_real_files(target, n, most=200000):
    """Copies up to n real files with their folders, links, modes and times."""
    top = copy_programs_tree()
    taken = 0
    for d, dirs, names in os.walk(top or '/nonexistent'):
        dirs.sort()
        where = os.path.join(target, os.path.relpath(d, top))
        for name in sorted(names):
            src = os.path.join(d, name)
            st = os.lstat(src)
            if stat.S_ISLNK(st.st_mode) or (stat.S_ISREG(st.st_mode) and st.st_size <= most):
                os.makedirs(where, exist_ok=True)
                shutil.copy2(src, os.path.join(where, name), follow_symlinks=False)
                taken += 1
                if taken == n:
                    return taken
    return taken
