#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures clones beside cp, rsync, rclone, fpsync and dsync (those that are installed), on the same tree in one run. Root.

    bench/clone.py BUILD_DIR [--files N] [--large N] [--gib N] [--work DIR] [--only small,large,second] [--cold]

Each is timed from its start to the end of a sync of the target; drover from `drover start` to the end of its daemon (2 threads that move) and the sync.
The target is emptied before each, and the caches are dropped: ext4 passes over the numbers of inodes that were deleted a moment ago, one by one, as long as it has them in memory,
which would take several times as long as the copying. Then the source is read once, but not with --cold.
"""
import argparse
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time


def sh(*words, **kw):
    return subprocess.run([os.fspath(w) for w in words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)


class Bench:
    def __init__(self, build, work, cold):
        self.bin, self.work, self.cold, self.n = build / 'bin', work, cold, 0
        self.src, self.dst = work / 'src', work / 'dst'
        self.conf = work / 'drover.conf'
        self.conf.write_text(f'[main]\nbase_path = {work}/campaigns\nmetrics_port = 0\nlog_level = warning\nmigration_workers = 2\nscan_workers = 2\n')

    def drover(self, *more):
        self.n += 1
        name = f'b{self.n}'
        sh(self.bin / 'drover', '--config', self.conf, 'start', 'clone', '--name', name, '--from', self.src, '--to', self.dst, *more)
        sh(self.bin / 'droverd', '--config', self.conf, '--campaign', name)

    def tools(self):
        found = {'drover': lambda: self.drover()}
        if shutil.which('cp'):
            found['cp -a'] = lambda: sh('cp', '-a', f'{self.src}/.', self.dst)
        if shutil.which('rsync'):
            found['rsync -aHAX'] = lambda: sh('rsync', '-aHAX', '--delete', f'{self.src}/', f'{self.dst}/')
        if shutil.which('rclone'):
            found['rclone sync'] = lambda: sh('rclone', 'sync', '--config', '/dev/null', '--metadata', '--links', self.src, self.dst)
        if shutil.which('fpsync'):
            found['fpsync -n 2'] = lambda: sh('fpsync', '-n', '2', '-o', '-lptgoDAX --numeric-ids', '-t', self.work / 'fp', '-d', self.work / 'fp', self.src, self.dst)
        if shutil.which('dsync'):
            found['dsync'] = lambda: sh('mpirun', '--allow-run-as-root', '-n', '2', 'dsync', '--xattrs', 'all', self.src, self.dst)
        return found

    def empty(self):
        shutil.rmtree(self.dst, ignore_errors=True)
        shutil.rmtree(self.work / 'fp', ignore_errors=True)
        shutil.rmtree(self.work / 'campaigns', ignore_errors=True)
        self.dst.mkdir()
        os.sync()

    def timed(self, run):
        os.sync()
        pathlib.Path('/proc/sys/vm/drop_caches').write_text('3\n')
        if not self.cold:
            for tree in self.src, self.dst:
                subprocess.run(f'tar -cf - {shlex.quote(str(tree))} | cat', shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began = time.monotonic()
        run()
        os.sync()
        return time.monotonic() - began

    def time_one(self, name, run, second):
        self.empty()
        if second:
            run()
        try:
            return self.timed(run)
        except subprocess.CalledProcessError as e:
            print(f'{name}: failed: {e}', file=sys.stderr)
            return None

    def table(self, what, second=False, rounds=1):
        """The better of all rounds, whose tools take turns: a disk that is shared is slow for minutes."""
        took = {}
        for _ in range(rounds):
            for name, run in self.tools().items():
                if second and name == 'cp -a':
                    continue  # it copies anew
                t = self.time_one(name, run, second)
                if t is not None:
                    took[name] = min(t, took.get(name, t))
        for name, seconds in sorted(took.items(), key=lambda kv: kv[1]):
            print('%-44s %-14s %8.2f s   drover is %5.2f times as fast' % (what, name, seconds, seconds / took['drover']), flush=True)


def small(path, n):
    shutil.rmtree(path, ignore_errors=True)
    data = os.urandom(1 << 20)
    for d in range((n + 999) // 1000):
        folder = path / f'd{d // 32}' / f'e{d % 32}'
        folder.mkdir(parents=True)
        for i in range(min(1000, n - d * 1000)):
            with open(folder / f'file-{i:04}', 'wb') as f:
                at = (d * 1000 + i) * 37 % (len(data) - 4096)
                f.write(data[at:at + 4096])
    os.sync()


def large(path, n, gib):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    block = os.urandom(16 << 20)
    for i in range(n):
        with open(path / f'large-{i}', 'wb') as f:
            for _ in range(int(gib * 64)):
                f.write(block)
    os.sync()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', type=pathlib.Path)
    parser.add_argument('--files', type=int, default=200000)
    parser.add_argument('--large', type=int, default=4)
    parser.add_argument('--gib', type=float, default=1)
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--work', type=pathlib.Path)
    parser.add_argument('--only', default='small,second,large')
    parser.add_argument('--cold', action='store_true')
    args = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix='drover-bench.', dir=args.work))
    bench = Bench(args.build.resolve(), work, args.cold)
    how = 'cold' if args.cold else 'warm'
    try:
        if 'small' in args.only or 'second' in args.only:
            small(bench.src, args.files)
        if 'small' in args.only:
            bench.table(f'{args.files} files of 4 KiB, {how}', rounds=args.rounds)
        if 'second' in args.only:
            bench.table(f'the same again, unchanged, {how}', second=True, rounds=args.rounds)
        if 'large' in args.only:
            large(bench.src, args.large, args.gib)
            bench.table(f'{args.large} files of {args.gib} GiB, {how}', rounds=args.rounds)
    finally:
        shutil.rmtree(work)


main()
