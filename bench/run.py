#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures drover against its limits and against cp, in one run, and prints ratios.

    bench/run.py BUILD_DIR [--files N] [--work DIR] [--only pipeline,data,memory]
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time


class Bench:
    def __init__(self, build, work):
        self.bin = build / 'bin'
        self.bare = build / 'bench' / 'bare'
        self.work = work
        self.conf = work / 'drover.conf'
        self.conf.write_text('[main]\nbase_path = %s\nlog_level = warning\n' % (work / 'base'))
        self.count = 0

    def lab(self, *args):
        return subprocess.run([self.bin / 'drover-lab', *map(str, args)], check=True, stdout=subprocess.PIPE, text=True).stdout

    def drover(self, *args, **kw):
        return subprocess.run([self.bin / 'drover', '--config', self.conf, *map(str, args)], stdout=subprocess.PIPE,
                              text=True, **kw)

    def new_lab(self, name, files, size, dirs=None, osts=3):
        """All files lie on OST 0: the others are closed while they are made."""
        path = self.work / name
        self.lab('create', path, '--osts', osts)
        for ost in range(1, osts):
            self.lab('set', path, '--ost', ost, '--state', 'closed')
        self.lab('fill', path, '--files', files, '--size', size, '--seed', 1, *(['--dirs', dirs] if dirs else []))
        for ost in range(1, osts):
            self.lab('set', path, '--ost', ost, '--state', 'up')
        return path

    def campaign(self, lab, source, start=(), daemon=()):
        """Seconds from the start of droverd to the return of wait, and the last status."""
        self.count += 1
        name = 'bench%d' % self.count
        self.drover('start', '--name', name, '--osts', source, '--scan-path', lab / 'ns', *start, check=True)
        began = time.monotonic()
        process = subprocess.Popen([self.bin / 'droverd', '--config', self.conf, '--campaign', name, *map(str, daemon)])
        waited = self.drover('wait', name)
        seconds = time.monotonic() - began
        process.wait()
        status = json.loads(self.drover('status', name, '--json').stdout)
        if waited.returncode != 0:
            sys.exit('campaign ended with %d: %s' % (waited.returncode, status))
        return seconds, status

    def cp(self, source, target, fsync):
        began = time.monotonic()
        subprocess.run(['cp', '-r', source, target], check=True)
        if fsync:
            subprocess.run(['sh', '-c', 'find "$1" -type f -print0 | xargs -0 sync', 'sh', target], check=True)
        seconds = time.monotonic() - began
        shutil.rmtree(target)
        os.sync()
        return seconds


def best(values):
    return min(values)


def row(what, ours, theirs, unit, aim):
    print('%-44s %12s %12s %8.2f   aim %s' % (what, '%.0f %s' % (ours, unit), '%.0f %s' % (theirs, unit), ours / theirs, aim), flush=True)


def pipeline(bench, files):
    lab = bench.new_lab('pipeline', files, '0-0', osts=3)
    bare, whole = [], []
    for _ in range(3):
        out = subprocess.run([bench.bare, lab / 'ns', '0', '2'], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        bare.append(float(out[1]))
        seconds, status = bench.campaign(lab, 0, ['--dry-run'], ['--scan-workers', 2, '--migration-workers', 2])
        assert status['progress']['succeeded'] == files, status
        whole.append(seconds)
    row('pipeline without data, candidates/s', files / best(whole), files / best(bare), '/s', '0.7 of the bare loop, 120000/s')
    shutil.rmtree(lab)


def data(bench, what, files, size, total):
    for fsync in (True, False):
        ours, theirs = [], []
        lab = bench.new_lab('data', files, size, osts=2)
        source = 0
        for _ in range(3):
            os.sync()
            theirs.append(bench.cp(lab / ('OST%04X' % source), bench.work / 'copy', fsync))
            seconds, status = bench.campaign(lab, source, [], ['--scan-workers', 1, '--migration-workers', 2, '--fsync',
                                                               'yes' if fsync else 'no'])
            assert status['progress']['succeeded'] == files, status
            ours.append(seconds)
            source = 1 - source
            os.sync()
        shutil.rmtree(lab)
        row('%s, %s fsync' % (what, 'with' if fsync else 'without'), total / best(ours) / 1e6, total / best(theirs) / 1e6, 'MB/s',
            '0.8 of cp -r')


def memory(bench, files):
    """A queue full of files that nobody moves: two movers are enough to need, and a paused campaign keeps all pending."""
    lab = bench.new_lab('memory', files, '0-0', osts=2)
    name = 'benchmem'
    bench.drover('start', '--name', name, '--osts', '0', '--scan-path', lab / 'ns', check=True)
    bench.lab('set', lab, '--ost', 1, '--state', 'slow', '--latency-ms', 60000)
    process = subprocess.Popen([bench.bin / 'droverd', '--config', bench.conf, '--campaign', name, '--migration-workers', '1',
                                '--max-pending-migrations', str(10 * files)])
    peak = 0
    while True:
        time.sleep(0.2)
        status = json.loads(bench.drover('status', name, '--json').stdout)
        rss = [l for l in pathlib.Path('/proc/%d/status' % process.pid).read_text().splitlines() if l.startswith('VmHWM')]
        peak = int(rss[0].split()[1])
        scan = status['scan']
        if status['progress']['discovered'] >= files and scan['pending'] + scan['active'] == 0:
            break
    pending = status['progress']['pending']
    empty = 1200000  # bytes that a server uses with nothing in it
    per_file = (status['memory']['used_bytes'] - empty) / pending
    path = sum(len(str(p)) for p, _ in zip(lab.glob('ns/*/*'), range(1000))) / 1000
    process.terminate()
    process.wait()
    row('Redis bytes for a pending file / its path', per_file, path, 'B', 'at most 1.0')
    print('%-44s %12s   aim under 64 MiB' % ('droverd, peak resident, %d pending' % pending, '%.1f MiB' % (peak / 1024)))
    shutil.rmtree(lab)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('build', type=pathlib.Path)
    parser.add_argument('--files', type=int, default=200000)
    parser.add_argument('--work', default=None)
    parser.add_argument('--only', default='pipeline,data,memory')
    args = parser.parse_args()
    only = args.only.split(',')
    with tempfile.TemporaryDirectory(prefix='drover-bench-', dir=args.work) as work:
        bench = Bench(args.build.resolve(), pathlib.Path(work))
        print('%s, %d cores, Linux %s; %s' % (platform.machine(), os.cpu_count(), platform.release(), time.strftime('%Y-%m-%d')))
        print('%-44s %12s %12s %8s' % ('', 'drover', 'limit', 'ratio'))
        if 'pipeline' in only:
            pipeline(bench, args.files)
        if 'data' in only:
            data(bench, '20,000 files of 4 KiB', 20000, '4K', 20000 * 4096)
            data(bench, '24 files of 64 MiB', 24, '64M', 24 * 64 << 20)
        if 'memory' in only:
            memory(bench, args.files)


if __name__ == '__main__':
    main()
