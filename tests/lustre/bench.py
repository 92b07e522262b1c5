#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""bench.py [--files N] [--large N] [--entries N] [--rounds N] [small] [large] [scan]: drover beside `lfs`, on the same Lustre, in one run.

Every figure is the best of the rounds, and each round does drover and its competitors one after the other, on files made afresh. What a campaign takes
that has nothing to do (a server started, two scans of nothing, the books closed) is measured in the same round, shown, and taken off drover's
times. Read the ratios: servers and client of a test machine share its processors. Takes the environment of lustre.py.
"""
import argparse
import os
import shutil
import subprocess
import sys
import time

import lustre
from lustre import KIB, MIB, Campaign, Mount, content, sh, write

LFS = ['lfs', 'migrate', '-n']


def make(folder, n, size, ost):
    sh('lfs', 'setstripe', '-c', '1', '-i', str(ost), folder)
    data = content(size, 7)
    for i in range(n):
        with open(f'{folder}/f{i:06}', 'wb') as f:
            f.write(data)
    sh('sync')
    return [f'{folder}/f{i:06}' for i in range(n)]


def fresh_caches():
    sh('lctl', 'set_param', 'ldlm.namespaces.*.lru_size=clear', check=False)
    with open('/proc/sys/vm/drop_caches', 'w') as f:
        f.write('3\n')


class Bench:
    def __init__(self, mount, rounds):
        self.mount, self.rounds, self.best, self.idle_s = mount, rounds, {}, 0

    def measure_idle(self):
        folder = self.mount.mkdir()
        try:
            with Campaign('0', folder) as c:
                began = time.monotonic()
                c.run()
                self.idle_s = time.monotonic() - began
        finally:
            os.rmdir(folder)
        print(f'    a campaign with nothing to do: {self.idle_s:.1f} s', flush=True)

    def note(self, what, figure, unit):
        self.best[what] = max(self.best.get(what, (0, ''))[0], figure), unit
        print(f'    {what:58} {figure:10.1f} {unit}', flush=True)

    def drover(self, what, folder, files, unit_per, unit, *args):
        with Campaign('0', folder, conf='fsync = yes\n') as c:
            began = time.monotonic()
            report = c.run(*args)
            took = time.monotonic() - began - self.idle_s
        assert report['progress']['succeeded'] == len(files), report['progress']
        self.note(what, unit_per / took, unit)

    def command(self, what, command, files, unit_per, unit, parallel=None):
        began = time.monotonic()
        if parallel:
            subprocess.run(['xargs', '-0', '-P', str(parallel), '-n', '1', *command], input='\0'.join(files).encode(), check=True)
        else:
            for f in files:
                subprocess.run([*command, f], check=True)
        self.note(what, unit_per / (time.monotonic() - began), unit)

    def with_files(self, n, size, fn):
        folder = self.mount.mkdir()
        try:
            files = make(folder, n, size, 0)
            fresh_caches()
            fn(folder, files)
        finally:
            shutil.rmtree(folder)

    def small(self, n):
        """4 KiB files. The competitors start one process a file, as scripts do; a few files are enough to tell."""
        few = max(20, n // 5)
        # The command picks its own target; a closed source keeps it from the OST that is to be emptied.
        away = [*LFS, '-c', '1', '-i', '2']
        for _ in range(self.rounds):
            self.measure_idle()
            for threads in (1, 4):
                self.with_files(n, 4 * KIB, lambda d, f: self.drover(
                    f'drover, {threads} move threads', d, f, len(f), 'files/s', '--migration-workers', str(threads)))
            self.with_files(few, 4 * KIB, lambda d, f: self.command('lfs migrate, a process per file', away, f, len(f), 'files/s'))
            self.with_files(few, 4 * KIB, lambda d, f: self.command('lfs migrate, xargs -P4', away, f, len(f), 'files/s', 4))
            self.with_files(few, 4 * KIB, lambda d, f: self.command('lfs migrate -W 4M, xargs -P4', [*away, '-W', '4M'], f, len(f), 'files/s', 4))

    def large(self, n, size):
        away = [*LFS, '-c', '1', '-i', '2']
        mib = n * size / MIB
        for _ in range(self.rounds):
            self.measure_idle()
            self.with_files(n, size, lambda d, f: self.drover('drover, 1 move thread', d, f, mib, 'MB/s', '--migration-workers', '1'))
            self.with_files(n, size, lambda d, f: self.command('lfs migrate, one after the other', away, f, mib, 'MB/s'))
            self.with_files(n, size, lambda d, f: self.drover('drover, 4 move threads', d, f, mib, 'MB/s', '--migration-workers', '4'))
            self.with_files(n, size, lambda d, f: self.command('lfs migrate, xargs -P4', away, f, mib, 'MB/s', 4))

    def scan(self, entries):
        folder = self.mount.mkdir('-c', '1', '-i', '2')
        dirs = 16
        try:
            for d in range(dirs):
                os.mkdir(f'{folder}/d{d}')
                for i in range(entries // dirs):
                    os.mknod(f'{folder}/d{d}/f{i}', 0o644 | 0o100000)
                    with open(f'{folder}/d{d}/f{i}', 'wb') as f:
                        f.write(b'x')
            for _ in range(self.rounds):
                self.measure_idle()
                for threads in (1, 4):
                    fresh_caches()
                    with Campaign('1', folder) as c:
                        began = time.monotonic()
                        c.run('--scan-workers', str(threads))
                        took = time.monotonic() - began - self.idle_s
                        n = c.status()['scan']['entries']
                    self.note(f'drover, {threads} scan threads', n / took, 'entries/s')
                    fresh_caches()
                    began = time.monotonic()
                    out = sh('lfs', 'find', f'--threads={threads}', folder, '--ost', '1')
                    assert not out
                    self.note(f'lfs find --threads={threads} --ost', entries / (time.monotonic() - began), 'entries/s')
        finally:
            shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('parts', nargs='*', default=['small', 'large', 'scan'])
    parser.add_argument('--files', type=int, default=400)
    parser.add_argument('--large', type=int, default=4)
    parser.add_argument('--large-mib', type=int, default=256)
    parser.add_argument('--entries', type=int, default=20000)
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    why = lustre.why_not()
    if why:
        sys.exit(f'bench: {why}')
    mount = Mount(os.environ['LUSTRE_DIR'])
    for part in args.parts or ['small', 'large', 'scan']:
        bench = Bench(mount, args.rounds)
        print(f'{part}:', flush=True)
        if part == 'small':
            bench.small(args.files)
        elif part == 'large':
            bench.large(args.large, args.large_mib * MIB)
        elif part == 'scan':
            bench.scan(args.entries)
        else:
            sys.exit(f'bench: no part {part}')
        print(f'{part}, best of {args.rounds}:')
        for what, (figure, unit) in bench.best.items():
            print(f'    {what:58} {figure:10.1f} {unit}')


main()
