# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clones on Lustre with the real programs: a tree of one of everything, campaigns, and what differs afterwards."""
import fcntl
import json
import os
import pathlib
import shutil
import signal
import stat
import struct
import subprocess
import tempfile

from lustre import BUILD, MIB, PATIENCE, content, sh

# What a file system writes down for itself; rsync shall not look at it either.
OWN = ['lustre.*'] + [f'trusted.{x}' for x in ('lov', 'lma', 'lmv', 'link', 'fid', 'hsm', 'som', 'dmv', 'dataver', 'version')]


class Site:
    """A place for campaigns that know of each other."""

    def __init__(self, src, dst):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix='drover-clone.'))
        self.src, self.dst = src, dst
        self.n, self.daemons, self.options = 0, [], {}

    def conf(self):
        path = self.base / 'drover.conf'
        keys = {'base_path': self.base / 'campaigns', 'metrics_port': 0, 'retry_delays': '1,1,2', 'redis_startup_timeout': 60,
                'scan_workers': 2, **self.options}
        path.write_text('[main]\n' + ''.join(f'{k} = {v}\n' for k, v in keys.items()))
        return path

    def drover(self, *words, check=True):
        return sh(BUILD / 'drover', '--config', self.conf(), *words, check=check)

    def start(self, *words, src=None, dst=None):
        self.n += 1
        self.drover('start', 'clone', '--name', f'c{self.n}', '--from', src or self.src, '--to', dst or self.dst, *words)
        return f'c{self.n}'

    def daemon(self, name):
        with open(self.base / f'{name}.log', 'ab') as log:
            p = subprocess.Popen([BUILD / 'droverd', '--config', self.conf(), '--campaign', name], stdout=log, stderr=log,
                                 stdin=subprocess.DEVNULL)
        self.daemons.append(p)
        return p

    def log(self, name):
        return (self.base / f'{name}.log').read_text(errors='backslashreplace')

    def status(self, name):
        return json.loads(self.drover('status', name, '--json'))

    def report(self, name):
        return json.loads(self.drover('report', name, '--json'))

    def end(self, name, daemon, expect='completed'):
        """@return the report of a campaign that is over"""
        daemon.wait(PATIENCE)
        report = self.report(name)
        if report['state'] != expect:
            raise AssertionError(f'{report["state"]}, not {expect}:\n{json.dumps(report, indent=1)[:4000]}\n{self.log(name)[-4000:]}')
        return report

    def run(self, *words, expect='completed', **trees):
        name = self.start(*words, **trees)
        return self.end(name, self.daemon(name), expect)

    def close(self):
        for p in self.daemons:
            if p.poll() is None:
                p.send_signal(signal.SIGKILL)
            p.wait()
        shutil.rmtree(self.base, ignore_errors=True)


def fill_plain(top):
    """What any file system holds."""
    for i, name in enumerate(('a', 'a/b', 'ü', 'new\nline', 'c', 'deep', 'deep/er', 'deep/er/still')):
        os.mkdir(f'{top}/{name}')
        os.chmod(f'{top}/{name}', (0o755, 0o700, 0o2775, 0o1777)[i % 4])
    for i, size in enumerate((0, 1, 4096, 5000, 300000, 3 * MIB + 7)):
        for where in ('', 'a/', 'deep/er/'):
            path = f'{top}/{where}f{i}'
            with open(path, 'xb') as f:
                f.write(content(size, path[-9:]))
            os.chmod(path, (0o644, 0o600, 0o4755, 0o2755, 0o000, 0o640)[i])
            os.chown(path, (0, 1000, 70000)[i % 3], (0, 1000)[i % 2])
            os.chmod(path, (0o644, 0o600, 0o4755, 0o2755, 0o000, 0o640)[i])
    with open(f'{top}/sparse', 'xb') as f:
        f.write(b'begin')
        f.seek(9 * MIB)
        f.write(b'end')
    with open(f'{top}/all-hole', 'xb') as f:
        f.truncate(2 * MIB)
    with open(os.fsencode(top) + b'/\xff\xfe', 'xb') as f:
        f.write(b'x')
    for name, target in (('s1', 'nowhere'), ('a/s2', '../f1'), ('s3', '/etc/passwd'), ('c/s4', 'x' * 3000)):
        os.symlink(target, f'{top}/{name}')
    os.lchown(f'{top}/s1', 5, 6)
    os.mkfifo(f'{top}/fifo', 0o640)
    os.mknod(f'{top}/a/device', 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(f'{top}/socket', 0o600 | stat.S_IFSOCK)
    os.link(f'{top}/f2', f'{top}/deep/er/still/f2')
    os.link(f'{top}/f2', f'{top}/c/f2')
    os.link(f'{top}/f2', f'{top}/f2-too')
    os.link(f'{top}/a/f4', f'{top}/a/b/f4')
    os.link(f'{top}/s3', f'{top}/a/s3', follow_symlinks=False)
    os.setxattr(f'{top}/f1', 'user.x', b'1\0\xff')
    os.setxattr(f'{top}/a/f3', 'trusted.x', b'2' * 200)
    os.setxattr(f'{top}/a', 'user.dir', b'3')
    sh('setfacl', '-m', 'u:7:rw', f'{top}/a/f5')
    sh('setfacl', '-d', '-m', 'u:9:rwx', f'{top}/c')
    sh('setfacl', '-m', 'g:11:rx', f'{top}/deep')
    for i, (at, names, files) in enumerate(os.walk(top, topdown=False)):
        for j, name in enumerate(names + files):
            os.utime(f'{at}/{name}', ns=((10**9 + i * 1000 + j) * 10**9 + 123456789,) * 2, follow_symlinks=False)
    sh('chattr', '+i', f'{top}/f3')
    sh('chattr', '+a', f'{top}/deep/er/f3')


def fill_lustre(top):
    """What only Lustre has, besides."""
    sh('lfs', 'mkdir', '-i', '1', f'{top}/remote')
    sh('lfs', 'mkdir', '-c', '2', f'{top}/striped')
    sh('lfs', 'mkdir', '-i', '0', f'{top}/remote/back')
    for i in range(8):
        os.mkdir(f'{top}/striped/d{i}')
        with open(f'{top}/striped/f{i}', 'xb') as f:
            f.write(content(100 * i, i))
    layouts = {'wide': ('-c', '2', '-S', '1M'), 'pfl': ('-E', '1M', '-c', '1', '-E', '16M', '-c', '2', '-S', '2M', '-E', '-1', '-c', '2'),
               'dom': ('-E', '64K', '-L', 'mdt', '-E', '-1', '-c', '2'), 'mirrored': ('-N2', '-c', '1'), 'overstriped': ('-C', '8', '-S', '64K')}
    for name, stripe in layouts.items():
        sh('lfs', 'setstripe', *stripe, f'{top}/remote/{name}')
        with open(f'{top}/remote/{name}', 'r+b') as f:
            f.write(content(3 * MIB, name))
    sh('lfs', 'mkdir', '-i', '1', f'{top}/default')
    sh('lfs', 'setstripe', *layouts['pfl'], f'{top}/default')
    os.mkdir(f'{top}/default/inherits')
    sh('lfs', 'setstripe', '-c', '2', '-S', '256K', f'{top}/striped/d0')
    os.mkdir(f'{top}/no-default')
    for i, name in enumerate(('wide', 'pfl')):
        os.link(f'{top}/remote/{name}', f'{top}/striped/{name}')
        os.link(f'{top}/remote/{name}', f'{top}/remote/back/{name}')
    os.mkdir(f'{top}/project')
    sh('lfs', 'project', '-p', '77', '-s', f'{top}/project')
    with open(f'{top}/project/file', 'xb') as f:
        f.write(b'77')
    with open(f'{top}/project/other', 'xb') as f:
        f.write(b'78')
    sh('lfs', 'project', '-p', '78', f'{top}/project/other')


def empty(path):
    sh('chattr', '-R', '-f', '-i', '-a', path, check=False)
    for name in os.listdir(path):
        at = os.path.join(path, name)
        shutil.rmtree(at) if os.path.isdir(at) and not os.path.islink(at) else os.unlink(at)


def differences(src, dst):
    """What rsync would do to make them alike; nothing when they are."""
    out = sh('rsync', '-aHAX', '--checksum', '--delete', '--dry-run', '--itemize-changes', *[f'--filter=-x {x}' for x in OWN],
             f'{src}/', f'{dst}/')
    return out.splitlines()


def projects(top):
    """{path: (project, inherits)} of directories and files, by FS_IOC_FSGETXATTR."""
    found = {}
    for at, names, files in os.walk(os.fsencode(top)):
        for name in [b'.', *names, *files]:
            path = os.path.normpath(os.path.join(at, name))
            if stat.S_IFMT(os.lstat(path).st_mode) in (stat.S_IFDIR, stat.S_IFREG):
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME)
                flags, _, _, project = struct.unpack('4I12x', fcntl.ioctl(fd, 0x801C581F, bytes(28)))
                os.close(fd)
                found[os.path.relpath(path, os.fsencode(top))] = project, bool(flags & 0x200)
    return found


def inodes(top):
    """{path: (inode, ctime of what is no directory)}"""
    found = {}
    for at, names, files in os.walk(os.fsencode(top)):
        for name in names + files:
            st = os.lstat(os.path.join(at, name))
            found[os.path.join(at, name)] = st.st_ino, None if stat.S_ISDIR(st.st_mode) else st.st_ctime
    return found
