#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random trees of all that a clone carries, random changes of them, and a comparison of two of them.

All of it follows from a seed: the same one makes the same tree (but for ctimes and inodes). By hand:
clone_trees.py make DIR SEED, change DIR SEED, compare FROM TO, remove DIR. All paths are bytes.
"""
import contextlib
import errno
import fcntl
import hashlib
import os
import random
import shutil
import stat
import struct
import subprocess
import sys

ROOT = os.geteuid() == 0
RSYNC = shutil.which('rsync')
SETFACL = shutil.which('setfacl')
IMMUTABLE, APPEND = 0x10, 0x20
GETFLAGS, SETFLAGS = 0x80086601, 0x40086602
PATH_BYTES = 3000  # below the root: rsync and the xattr calls take whole paths
ODD = [b'\xff\xfe', b'new\nline', b' ', b'-rf', b'*', b'quote\'"', b'\\', b'\\n', b'\t', 'ü'.encode(), b'.hidden',
       b'%s%n', b'\x01\x7f', b'...', b'~', b'a' * 255, b'#x', b'[a-z]', b'trailing ', b'\r']


def flags_of(path):
    """Of a regular file or directory; 0 where there are none."""
    if not stat.S_IFMT(os.lstat(path).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
        return 0
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME if ROOT else os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return struct.unpack('i', fcntl.ioctl(fd, GETFLAGS, bytes(4)))[0] & (IMMUTABLE | APPEND)
    except OSError:
        return 0
    finally:
        os.close(fd)


def set_flags(path, flags):
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        now = struct.unpack('i', fcntl.ioctl(fd, GETFLAGS, bytes(4)))[0]
        fcntl.ioctl(fd, SETFLAGS, struct.pack('i', now & ~(IMMUTABLE | APPEND) | flags))
    finally:
        os.close(fd)


def entries(root):
    """The paths of all entries below the root, relative to it, directories before what is in them."""
    todo = [b'']
    while todo:
        at = todo.pop()
        with os.scandir(os.path.join(root, at) if at else root) as found:
            for entry in sorted(found, key=lambda e: e.name):
                path = os.path.join(at, entry.name) if at else entry.name
                yield path
                if entry.is_dir(follow_symlinks=False):
                    todo.append(path)


def remove(root):
    """rm -r, of immutable entries too."""
    if not os.path.lexists(root):
        return
    for path in [b'', *entries(root)]:
        full = os.path.join(root, path) if path else root
        if flags_of(full):
            set_flags(full, 0)
    shutil.rmtree(root)


class Maker:
    """Makes a tree, and changes it.

    flags: immutable and append-only entries, rarely (root). secret_changes: content that changes while size and mtime stay,
    which only --checksum finds. whole_seconds: times without nanoseconds, as Lustre keeps them.
    """

    def __init__(self, root, seed, flags=False, secret_changes=False, whole_seconds=False, max_bytes=300000):
        self.root = os.fsencode(root)
        self.rng = random.Random(seed)
        self.flags = flags and ROOT
        self.secret_changes = secret_changes
        self.whole_seconds = whole_seconds
        self.max_bytes = max_bytes
        self.n = 0
        os.makedirs(self.root, exist_ok=True)

    def full(self, path):
        return os.path.join(self.root, path) if path else self.root

    # ---- what is there ----

    def all(self, kind=None):
        found = []
        for path in entries(self.root):
            mode = os.lstat(self.full(path)).st_mode
            if kind is None or stat.S_IFMT(mode) == kind:
                found.append(path)
        return found

    def some(self, kind=None):
        found = self.all(kind)
        return self.rng.choice(found) if found else None

    def new_path(self):
        dirs = [d for d in [b'', *self.all(stat.S_IFDIR)] if len(d) < PATH_BYTES - 300]
        while True:
            self.n += 1
            name = self.rng.choice(ODD) if self.rng.random() < 0.3 else b'n%d' % self.n
            parent = self.rng.choice(dirs)
            path = os.path.join(parent, name) if parent else name
            if not os.path.lexists(self.full(path)):
                return path

    # ---- entries ----

    def data(self, n):
        return self.rng.choice([self.rng.randbytes(n), bytes(n), b'line\n' * (n // 5 + 1)])[:n]

    def file(self, path):
        size = self.rng.choice([0, 1, 511, 4096, self.rng.randrange(20000), self.rng.randrange(self.max_bytes)])
        with open(self.full(path), 'wb') as f:
            f.write(self.data(size))

    def sparse(self, path):
        size = self.rng.randrange(1, 16) << 20
        with open(self.full(path), 'wb') as f:
            for _ in range(self.rng.randrange(4)):
                f.seek(self.rng.randrange(size))
                f.write(self.rng.randbytes(self.rng.randrange(1, 10000)))
            f.truncate(max(size, f.seek(0, os.SEEK_END)))

    def symlink(self, path):
        target = self.rng.choice([b'nowhere', b'/', b'..', b'.', b'\xff\n', b'x' * 4000, self.some() or b'x'])
        os.symlink(target, self.full(path))

    def hard_link(self, path):
        with_ = self.some(self.rng.choice([stat.S_IFREG, stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO]))
        if with_ and not flags_of(self.full(with_)):
            os.link(self.full(with_), self.full(path), follow_symlinks=False)

    def device(self, path):
        if ROOT:
            kind = self.rng.choice([stat.S_IFCHR, stat.S_IFBLK])
            os.mknod(self.full(path), kind | 0o600, os.makedev(self.rng.randrange(1, 300), self.rng.randrange(70000)))

    def deep(self, path):
        while len(path) < PATH_BYTES - 300:
            os.mkdir(self.full(path))
            path = os.path.join(path, b'd' * self.rng.randrange(1, 256))
        self.file(path)

    def add(self):
        """@return the new entry's path"""
        path = self.new_path()
        what = self.rng.choices(
            [self.file, self.sparse, self.symlink, self.hard_link, self.device, self.deep,
             lambda p: os.mkdir(self.full(p)), lambda p: os.mkfifo(self.full(p)),
             lambda p: os.mknod(self.full(p), stat.S_IFSOCK | 0o600)],
            [40, 6, 10, 12, 4, 1, 18, 3, 2])[0]
        what(path)
        return path if os.path.lexists(self.full(path)) else None

    # ---- metadata ----

    def time_ns(self):
        seconds = self.rng.choice([0, 1, 4102444800, self.rng.randrange(1, 1 << 31), 1500000000 + self.rng.randrange(10**8)])
        return seconds * 10**9 + (0 if self.whole_seconds else self.rng.randrange(10**9))

    def dress_times(self, path):
        os.utime(self.full(path), ns=(self.time_ns(), self.time_ns()), follow_symlinks=False)

    def dress_mode(self, path):
        full = self.full(path)
        if not stat.S_ISLNK(os.lstat(full).st_mode):
            mode = self.rng.choice([0o600, 0o644, 0o755, 0o700, 0o4755, 0o2750, 0o1777, 0o6711, self.rng.randrange(0o10000)])
            os.chmod(full, mode if ROOT else mode | 0o700)

    def dress_owner(self, path):
        if ROOT:
            os.chown(self.full(path), self.rng.choice([0, 1, 1000, 70000, 3000000000]), self.rng.choice([0, 5, 100000]),
                     follow_symlinks=False)

    def dress_xattr(self, path):
        full = self.full(path)
        mode = os.lstat(full).st_mode
        spaces = (['user.'] if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else []) + (['trusted.'] if ROOT else [])
        if not spaces:
            return
        name = self.rng.choice(spaces) + self.rng.choice(['a', 'b', 'with space', 'drover-test', 'x' * 100])
        try:
            if name in os.listxattr(full, follow_symlinks=False) and self.rng.random() < 0.5:
                os.removexattr(full, name, follow_symlinks=False)
            else:
                os.setxattr(full, name, self.rng.randbytes(self.rng.choice([0, 1, 30, 700])), follow_symlinks=False)
        except OSError as e:
            # of a file system without them, or that is full in this inode
            if e.errno not in (errno.EOPNOTSUPP, errno.ENOSPC, errno.E2BIG):
                raise

    def dress_acl(self, path):
        full = self.full(path)
        mode = os.lstat(full).st_mode
        if not SETFACL or stat.S_ISLNK(mode):
            return
        words = ['-m', self.rng.choice(['u:1000:rwx', 'u:0:r,g:5:---', 'g:100000:rw', 'u:70000:x,m::r'])]
        if stat.S_ISDIR(mode) and self.rng.random() < 0.5:
            words.insert(0, '-d')
        if self.rng.random() < 0.2:
            words = ['-b']
        subprocess.run([os.fsencode(SETFACL), *map(os.fsencode, words), b'--', full], stderr=subprocess.DEVNULL)

    def dress_flags(self, path):
        if self.flags and stat.S_IFMT(os.lstat(self.full(path)).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
            with contextlib.suppress(OSError):
                set_flags(self.full(path), self.rng.choice([IMMUTABLE, APPEND]))

    def dress(self, path):
        for fn, chance in ((self.dress_owner, 0.3), (self.dress_mode, 0.4), (self.dress_xattr, 0.2), (self.dress_acl, 0.08)):
            if self.rng.random() < chance:
                fn(path)

    # ---- trees ----

    def make(self, n=200):
        paths = [self.add() for _ in range(n)]
        for path in paths:
            if path:
                self.dress(path)
        self.finish([b'', *self.all()])
        return self

    def finish(self, paths):
        """Times last, deepest first, then the flags, which forbid all else."""
        for path in sorted(paths, reverse=True):
            if os.path.lexists(self.full(path)):
                self.dress_times(path)
        for path in paths:
            if path and self.rng.random() < 0.02 and os.path.lexists(self.full(path)):
                self.dress_flags(path)

    # ---- changes ----

    def change_data(self, path):
        full = self.full(path)
        st = os.lstat(full)
        secret = self.secret_changes and self.rng.random() < 0.3
        with open(full, 'r+b') as f:
            how = self.rng.randrange(4)
            if secret or how == 0:
                f.seek(self.rng.randrange(st.st_size) if st.st_size else 0)
                f.write(self.rng.randbytes(1 if st.st_size else 0))
            elif how == 1:
                f.truncate(self.rng.randrange(st.st_size + 1))
            elif how == 2:
                f.seek(0, os.SEEK_END)
                f.write(self.data(self.rng.randrange(1, 5000)))
            else:
                f.truncate(st.st_size + (1 << 20))
        if secret:
            os.utime(full, ns=(st.st_atime_ns, st.st_mtime_ns))

    def remove(self, path):
        full = self.full(path)
        if stat.S_ISDIR(os.lstat(full).st_mode):
            shutil.rmtree(full)
        else:
            os.unlink(full)

    def replace(self, path):
        """By an entry of any type, under the same name."""
        self.remove(path)
        self.rng.choice([self.file, self.sparse, self.symlink, lambda p: os.mkdir(self.full(p))])(path)

    def rename(self, path):
        to = self.new_path()
        if not (to + b'/').startswith(path + b'/') and len(to) + self.longest_below(path) < PATH_BYTES:
            os.rename(self.full(path), self.full(to))

    def longest_below(self, path):
        if not stat.S_ISDIR(os.lstat(self.full(path)).st_mode):
            return 0
        return max((len(p) + 1 for p in entries(self.full(path))), default=0)

    def change_one(self):
        file, any_ = self.some(stat.S_IFREG), self.some()
        what = self.rng.choices(['data', 'add', 'remove', 'replace', 'rename', 'dress', 'link', 'times'],
                                [25, 20, 8, 4, 8, 20, 8, 7])[0]
        if what == 'data' and file:
            self.change_data(file)
        elif what == 'link':
            self.hard_link(self.new_path())
        elif what == 'add' or not any_:
            path = self.add()
            if path:
                self.dress(path)
        elif what == 'remove':
            self.remove(any_)
        elif what == 'replace':
            self.replace(any_)
        elif what == 'rename':
            self.rename(any_)
        elif what == 'times':
            self.dress_times(any_)
        else:
            self.rng.choice([self.dress_owner, self.dress_mode, self.dress_xattr, self.dress_acl])(any_)

    def change(self, n=40):
        """Flags are taken off all first: each change may meet any entry."""
        locked = {p: f for p in [b'', *entries(self.root)] if (f := flags_of(self.full(p)))}
        for path in locked:
            set_flags(self.full(path), 0)
        for _ in range(n):
            self.change_one()
        for path, flags in locked.items():
            if self.rng.random() < 0.7 and path and os.path.lexists(self.full(path)):
                with contextlib.suppress(OSError):
                    set_flags(self.full(path), flags)
        return self


# ---- comparison ----

def digest_of(path):
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | (os.O_NOATIME if ROOT else 0))
    with open(fd, 'rb') as f:
        return hashlib.file_digest(f, 'sha256').hexdigest() if hasattr(hashlib, 'file_digest') \
            else hashlib.sha256(f.read()).hexdigest()


def xattrs_of(path):
    own = ('trusted.lov', 'trusted.lma', 'trusted.lmv', 'trusted.link', 'trusted.fid', 'trusted.hsm', 'trusted.som',
           'trusted.dmv', 'trusted.dataver', 'trusted.version', 'lustre.', 'security.selinux')
    try:
        return {name: os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False) if not name.startswith(own)}
    except OSError as e:
        if e.errno == errno.EOPNOTSUPP:
            return {}
        raise


def look(path, time_ns):
    """What of an entry has to be equal."""
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    seen = {'mode': oct(st.st_mode), 'owner': (st.st_uid, st.st_gid), 'mtime': st.st_mtime_ns // time_ns,
            'xattrs': xattrs_of(path), 'flags': flags_of(path)}
    if kind != stat.S_IFDIR:
        seen['links'] = st.st_nlink
    if kind == stat.S_IFREG:
        seen['size'] = st.st_size
        seen['data'] = digest_of(path)
    elif kind == stat.S_IFLNK:
        seen['data'] = os.readlink(path)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        seen['device'] = st.st_rdev
    return seen


def links_of(root, paths):
    """For each path of a file with several names the smallest of those below the root."""
    first, groups = {}, {}
    for path in sorted(paths):
        st = os.lstat(os.path.join(root, path))
        if st.st_nlink > 1 and not stat.S_ISDIR(st.st_mode):
            groups[path] = first.setdefault((st.st_dev, st.st_ino), path)
    return groups


def is_sparse(st):
    return st.st_size - st.st_blocks * 512 > 1 << 17


def own_differences(a, b, time_ns=1):
    paths_a, paths_b = set(entries(a)), set(entries(b))
    found = [f'missing {p!r}' for p in sorted(paths_a - paths_b)] + [f'extra {p!r}' for p in sorted(paths_b - paths_a)]
    for path in [b'', *sorted(paths_a & paths_b)]:
        full_a, full_b = (os.path.join(r, path) if path else r for r in (a, b))
        seen_a, seen_b = look(full_a, time_ns), look(full_b, time_ns)
        found += [f'{key} {path!r}: {seen_a.get(key)} {seen_b.get(key)}'
                  for key in sorted(seen_a.keys() | seen_b.keys()) if seen_a.get(key) != seen_b.get(key)]
        st_a, st_b = os.lstat(full_a), os.lstat(full_b)
        if stat.S_ISREG(st_a.st_mode) and is_sparse(st_a) and st_b.st_blocks > st_a.st_blocks + 256:
            found.append(f'sparse {path!r}: {st_a.st_blocks} {st_b.st_blocks} blocks')
    groups_a, groups_b = links_of(a, paths_a), links_of(b, paths_b)
    found += [f'group {p!r}: {groups_a.get(p)!r} {groups_b.get(p)!r}'
              for p in sorted(groups_a.keys() | groups_b.keys()) if groups_a.get(p) != groups_b.get(p)]
    return found


def rsync_differences(a, b):
    if not RSYNC:
        return []
    done = subprocess.run([os.fsencode(RSYNC), b'-aHAX', b'--checksum', b'--delete', b'--dry-run', b'--itemize-changes',
                           a + b'/', b + b'/'], capture_output=True)
    lines = done.stdout.splitlines() + (done.stderr.splitlines() if done.returncode else [])
    return [f'rsync {line!r}' for line in lines]


def differences(a, b, time_ns=1):
    """What differs between two trees, as lines; none: they are equal. time_ns: the coarser resolution of times."""
    a, b = os.fsencode(a), os.fsencode(b)
    return own_differences(a, b, time_ns) + rsync_differences(a, b)


def main():
    what, *args = sys.argv[1:] or ['help']
    if what == 'make' and len(args) == 2:
        Maker(args[0], args[1], flags=True).make()
    elif what == 'change' and len(args) == 2:
        Maker(args[0], args[1], flags=True).change()
    elif what == 'remove' and len(args) == 1:
        remove(os.fsencode(args[0]))
    elif what == 'compare' and len(args) == 2:
        found = differences(*args)
        print(*found, sep='\n', end='\n' if found else '')
        return 1 if found else 0
    else:
        print(__doc__)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
