# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests on a real Lustre share: a folder of their own, files of every kind, campaigns with the real programs.

LUSTRE_DIR is a client mount (root, at least 4 OSTs); LUSTRE_DIR2 a second mount of the same file system, LUSTRE_SECOND one of another file
system; both may be missing. Nothing is touched that the tests did not make, but for what they set and set back: parameters of OSTs, a
pool. The programs are those of $DROVER_BUILD, or build/bin of the repository.
"""
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('DROVER_BUILD', REPO / 'build' / 'bin'))
KIB, MIB = 1 << 10, 1 << 20
PATIENCE = float(os.environ.get('DROVER_TEST_PATIENCE', 300))
LUSTRE_MAGIC = 0x0BD00BD0
INIT, STALE = 0x10, 0x1
RELEASED, MDT = 0x80000000, 0x100


def sh(*args, check=True, data=None, timeout=PATIENCE):
    """Runs a command. @return its output; with check=False (exit status, output with stderr)."""
    r = subprocess.run([os.fspath(a) if isinstance(a, os.PathLike) else a if isinstance(a, bytes) else str(a)
                        for a in args], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    text = r.stdout.decode(errors='backslashreplace')
    if not check:
        return r.returncode, text
    if r.returncode != 0:
        raise AssertionError(f'{args} -> {r.returncode}\n{text}')
    return text


def until(what, fn, timeout=PATIENCE, every=0.05):
    end = time.monotonic() + timeout
    while True:
        value = fn()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'not within {timeout} s: {what}')
        time.sleep(every)


def is_lustre(path):
    r = subprocess.run(['stat', '-f', '-c', '%t', path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return r.returncode == 0 and int(r.stdout, 16) == LUSTRE_MAGIC


def why_not():
    """Why the suite cannot run here, or None."""
    path = os.environ.get('LUSTRE_DIR')
    if not path:
        return 'LUSTRE_DIR names no Lustre client mount'
    if not is_lustre(path):
        return f'{path} is not on Lustre'
    if os.geteuid() != 0:
        return 'root is needed'
    for tool in ('lfs', 'lctl', 'redis-server'):
        if not shutil.which(tool):
            return f'no {tool} in the PATH'
    return None


# --- the file system ------------------------------------------------------------------------------------------------

class Mount:
    """A client mount, and a folder of the tests' own in it."""

    def __init__(self, path):
        self.path = os.path.realpath(path)
        self.fsname = sh('lfs', 'getname', '-n', self.path).strip()
        self.fsname = self.fsname.rsplit('-', 1)[0] if re.search(r'-[0-9a-f]{16}$', self.fsname) else self.fsname
        self.osts = sorted(int(m[1]) for m in re.finditer(r'^(\d+): \S+ ACTIVE', sh('lfs', 'osts', self.path), re.M))

    def mkdir(self, *stripe):
        path = tempfile.mkdtemp(prefix='drover-test.', dir=self.path)
        if stripe:
            sh('lfs', 'setstripe', *stripe, path)
        return path

    def ost_name(self, index):
        return '%s-OST%04x' % (self.fsname, index)

    def free(self, index):
        """Bytes that the OST has left."""
        for line in sh('lfs', 'df', self.path).splitlines():
            m = re.match(r'\S+-OST([0-9a-f]{4})_UUID\s+(\d+)\s+(\d+)\s+(\d+)', line)
            if m and int(m[1], 16) == index:
                return int(m[4]) * KIB
        raise AssertionError(f'no OST {index}')


def fid(path):
    return sh('lfs', 'path2fid', path).strip()


class Comp:
    """A component of a layout, decoded from the bytes of lustre.lov."""

    def __init__(self, cid, flags, start, end, blob):
        magic, self.pattern, self.stripe_size, self.stripe_count = struct.unpack('<II16xIH', blob[:30])
        self.id, self.flags, self.start, self.end = cid, flags, start, end
        v3 = magic == 0x0BD30BD0
        self.pool = blob[32:48].split(b'\0')[0].decode() if v3 else ''
        at = 48 if v3 else 32
        here = flags & INIT and not self.pattern & (RELEASED | MDT)
        self.osts = [struct.unpack('<I', blob[at + 24 * i + 20:at + 24 * i + 24])[0]
                     for i in range(self.stripe_count if here else 0)]

    def __repr__(self):
        return f'<{self.id:#x} flags={self.flags:#x} {self.start}-{self.end} pattern={self.pattern:#x} {self.osts} {self.pool}>'


def layout(path):
    """The components of a file, [] without a layout."""
    try:
        b = os.getxattr(path, 'lustre.lov', follow_symlinks=False)
    except OSError:
        return []
    if struct.unpack('<I', b[:4])[0] != 0x0BD60BD0:
        return [Comp(0, INIT, 0, 2**64 - 1, b)]
    comps = []
    for i in range(struct.unpack('<H', b[14:16])[0]):
        cid, flags, start, end, off, size = struct.unpack('<IIQQII', b[32 + 48 * i:64 + 48 * i])
        comps.append(Comp(cid, flags, start, end, b[off:off + size]))
    return comps


def osts_of(path):
    return {o for c in layout(path) for o in c.osts}


def shape(path):
    """Everything of a layout that a move keeps: all but the OSTs, generations, and the numbers of mirrors. One list a mirror."""
    mirrors = {}
    for c in sorted(layout(path), key=lambda c: c.start):
        mirrors.setdefault(c.id >> 16, []).append(
            (c.flags & ~0x2, c.start, c.end, c.pattern & ~0x200, c.stripe_size, len(c.osts) or c.stripe_count, c.pool))
    return sorted(mirrors.values())


def content(n, seed):
    return random.Random(seed).randbytes(n)


def write(path, data, at=0):
    with open(path, 'r+b' if os.path.exists(path) else 'xb') as f:
        f.seek(at)
        f.write(data)


def digest(path):
    h = hashlib.md5()
    with open(os.open(path, os.O_RDONLY | os.O_NOATIME), 'rb') as f:
        while True:
            b = f.read(MIB)
            if not b:
                return h.hexdigest()
            h.update(b)


def facts(path):
    """What a move must leave as it is."""
    st = os.lstat(path)
    project = re.match(r'\s*(\d+)', sh('lfs', 'project', '-d', path)) if os.path.isfile(path) else None
    return {
        'fid': fid(path), 'size': st.st_size, 'mode': st.st_mode, 'owner': (st.st_uid, st.st_gid), 'links': st.st_nlink,
        'mtime': int(st.st_mtime), 'atime': int(st.st_atime), 'project': project and project[1],
        'xattrs': {x: os.getxattr(path, x) for x in os.listxattr(path) if not x.startswith(('lustre.', 'trusted.'))},
        'md5': digest(path),
    }


def mirrors_verify(path):
    code, out = sh('lfs', 'mirror', 'verify', '-v', path, check=False)
    return code == 0, out


@contextlib.contextmanager
def parameter(name, value):
    """Sets a parameter of a server that runs on this node, and sets it back."""
    before = dict(line.split('=', 1) for line in sh('lctl', 'get_param', name).splitlines() if '=' in line)
    sh('lctl', 'set_param', f'{name}={value}')
    try:
        yield
    finally:
        for key, old in before.items():
            sh('lctl', 'set_param', f'{key}={old}', check=False)


def has_servers():
    """Whether the servers run on this node, so that faults can be set there."""
    code, out = sh('lctl', 'list_param', 'obdfilter.*', check=False)
    return code == 0 and '-OST' in out


# --- campaigns ------------------------------------------------------------------------------------------------------

class Campaign:
    """A campaign with a base path of its own."""

    def __init__(self, osts, *paths, name='t', conf='', start=()):
        self.base = tempfile.mkdtemp(prefix='drover-lustre.')
        self.conf = os.path.join(self.base, 'drover.conf')
        pathlib.Path(self.conf).write_text(
            f'[main]\nbase_path = {self.base}/campaigns\nmetrics_port = 0\nretry_delays = 1,1,2\nscan_workers = 2\n'
            f'redis_startup_timeout = 60\n' + conf)
        self.name = name
        self.daemons = []
        self.start_output = self.drover('start', '--name', name, '--osts', osts,
                                        *[w for p in paths for w in ('--scan-path', p)], *start)

    def drover(self, *args, check=True):
        return sh(BUILD / 'drover', '--config', self.conf, *args, check=check)

    def daemon(self, *args):
        log = open(os.path.join(self.base, f'daemon{len(self.daemons)}.log'), 'wb')
        p = subprocess.Popen([BUILD / 'droverd', '--config', self.conf, '--campaign', self.name, *args],
                             stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        log.close()
        self.daemons.append(p)
        return p

    def log(self):
        return ''.join(p.read_text(errors='replace') for p in sorted(pathlib.Path(self.base).glob('daemon*.log')))

    def run(self, *args, expect='completed', patience=PATIENCE):
        """A daemon to the end. @return the report"""
        p = self.daemon(*args)
        try:
            p.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError('the daemon does not end:\n' + self.drover('status', self.name, check=False)[1] + self.log()[-4000:])
        report = self.report()
        if expect and report['state'] != expect:
            raise AssertionError(f'{report["state"]}, not {expect}:\n{json.dumps(report, indent=1)[:4000]}\n{self.log()[-4000:]}')
        self.check_identity(report)
        return report

    def report(self):
        return json.loads(self.drover('report', '--json', self.name))

    def status(self):
        return json.loads(self.drover('status', '--json', self.name))

    @staticmethod
    def check_identity(report):
        p = report['progress']
        parts = ('succeeded', 'unneeded', 'skipped', 'failed', 'gone', 'pending', 'in_progress')
        assert p['discovered'] == sum(p[k] for k in parts), p

    def close(self):
        for p in self.daemons:
            if p.poll() is None:
                p.send_signal(signal.SIGKILL)
                p.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def leftovers(report):
    """{name: (class, step, error)}"""
    return {os.path.basename(x['path']): (x['class'], x['step'], x['error']) for x in report['leftovers']}
