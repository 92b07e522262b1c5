#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures what the loss of a leader costs, how soon a new worker works, and how workers add up.

    bench/failover.py BUILD_DIR [--work DIR] [--rounds N] [--only failover,join,workers]

failover: files are queued, then the leader's daemon is killed with SIGKILL; until the next file is settled. The queue is
made longer by copies of its own chunks, which are never reached.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CHUNK = 250  # files


class Redis:
    def __init__(self, folder):
        info = json.loads((folder / 'leader.info').read_text())
        password, epoch = (folder / 'secret').read_text().split()
        if int(epoch) != info['epoch']:
            raise OSError('a leader is just being announced')
        self.epoch, self.pid = info['epoch'], info['pid']
        self.socket = socket.create_connection((info['address'], info['port']), 5)
        self.file = self.socket.makefile('rb')
        self('AUTH', password)

    def __call__(self, *words):
        out = b'*%d\r\n' % len(words)
        for w in words:
            w = w if isinstance(w, bytes) else str(w).encode()
            out += b'$%d\r\n%s\r\n' % (len(w), w)
        self.socket.sendall(out)
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line:
            raise OSError('the server went away')
        kind, rest = line[:1], line[1:-2]
        if kind == b'$':
            return None if rest == b'-1' else self.file.read(int(rest) + 2)[:-2]
        if kind == b'*':
            return [self.reply() for _ in range(int(rest))]
        if kind == b'-':
            raise OSError(rest.decode())
        return int(rest) if kind == b':' else rest


# Copies the first chunk of the queue, in pieces, so that no script holds the server for long.
MULTIPLY = '''
local e = redis.call('XRANGE', KEYS[1] .. 'move', '-', '+', 'COUNT', 1)[1][2]
local f = {}
for i = 1, #e, 2 do f[e[i]] = e[i + 1] end
for _ = 1, tonumber(ARGV[1]) do
  redis.call('XADD', KEYS[1] .. 'move', '*', 'p', f.p, 'n', f.n, 'b', f.b, 'a', '0', 'g', '0')
end
redis.call('HINCRBY', KEYS[1] .. 'ledger', 'pending', ARGV[1] * f.n)
redis.call('HINCRBY', KEYS[1] .. 'ledger', 'discovered', ARGV[1] * f.n)
return redis.call('XLEN', KEYS[1] .. 'move')
'''


class Bench:
    def __init__(self, build, work):
        self.bin, self.work = build / 'bin', work
        self.count = 0
        self.daemons = []

    def lab(self, *args):
        subprocess.run([self.bin / 'drover-lab', *map(str, args)], check=True, stdout=subprocess.DEVNULL)

    def new_lab(self, name, files, size):
        path = self.work / name
        self.lab('create', path, '--osts', 3)
        for ost in (1, 2):
            self.lab('set', path, '--ost', ost, '--state', 'closed')
        self.lab('fill', path, '--files', files, '--size', size, '--seed', 1)
        for ost in (1, 2):
            self.lab('set', path, '--ost', ost, '--state', 'up')
        return path

    def campaign(self, lab, source, **options):
        self.count += 1
        self.name = 'bench%d' % self.count
        self.conf = self.work / (self.name + '.conf')
        options = {'base_path': self.work / 'base', 'log_level': 'warning', 'scan_batch_size': CHUNK, 'metrics_port': 0,
                   'scan_workers': 2, 'migration_workers': 2, **options}
        self.conf.write_text('[main]\n' + ''.join('%s = %s\n' % x for x in options.items()))
        self.folder = self.work / 'base' / self.name
        subprocess.run([self.bin / 'drover', '--config', self.conf, 'start', '--name', self.name, '--osts', str(source),
                        '--scan-path', lab / 'ns'], check=True, stdout=subprocess.DEVNULL)

    def daemon(self, *args):
        process = subprocess.Popen([self.bin / 'droverd', '--config', self.conf, '--campaign', self.name, *args],
                                   stderr=subprocess.DEVNULL)
        self.daemons.append(process)
        return process

    def redis(self, above=0):
        """A connection to the leader's server of an epoch above that."""
        while True:
            try:
                redis = Redis(self.folder)
                if redis.epoch > above:
                    return redis
            except (OSError, ValueError):
                pass
            time.sleep(0.002)

    def ledger(self, redis):
        flat = redis('HGETALL', 'drover:%s:ledger' % self.name)
        return {k.decode(): int(v) for k, v in zip(flat[::2], flat[1::2])}

    def settled(self, redis):
        ledger = self.ledger(redis)
        return sum(ledger.get(k, 0) for k in ('succeeded', 'unneeded', 'gone', 'busy', 'changed', 'refused', 'failed'))

    def scanned(self, redis):
        ledger = self.ledger(redis)
        return ledger.get('entries', 0) > 0 and ledger.get('scan_pending', 0) + ledger.get('scan_active', 0) == 0

    def end(self):
        for process in self.daemons:
            process.kill()
            process.wait()
        self.daemons = []


def failover(bench, rounds):
    print('failover: seconds from kill -9 of the leader to the next settled file, two daemons on one host')
    lab = bench.new_lab('failover', 100000, '1-4K')
    for ost in (1, 2):
        bench.lab('set', lab, '--ost', ost, '--state', 'slow', '--latency-ms', 20)
    for files in map(int, os.environ.get('FAILOVER_FILES', '100000 1000000 10000000').split()):
        bench.campaign(lab, 0, redis_maxmemory='4G', max_pending_migrations=100_000_000)
        bench.daemon()
        redis = bench.redis()
        while not bench.scanned(redis):
            time.sleep(0.05)
        copies = (files - 100_000) // CHUNK
        while copies > 0:
            redis('EVAL', MULTIPLY, 1, 'drover:%s:' % bench.name, min(copies, 100))
            copies -= 100
        chunks, memory = redis('XLEN', 'drover:%s:move' % bench.name), redis('INFO', 'memory')
        used = [int(x.split(b':')[1]) for x in memory.splitlines() if x.startswith(b'used_memory:')][0]
        times, leads = [], []
        for _ in range(rounds):
            bench.daemon()
            time.sleep(1.5)
            old = bench.redis()
            before = bench.settled(old)
            began = time.monotonic()
            os.kill(old.pid, signal.SIGKILL)
            new = bench.redis(old.epoch)
            leads.append(time.monotonic() - began)
            before = min(before, bench.settled(new))
            while bench.settled(new) == before:
                time.sleep(0.002)
            times.append(time.monotonic() - began)
            for process in [p for p in bench.daemons if p.pid == old.pid]:
                process.wait()
                bench.daemons.remove(process)
        size = sum(f.stat().st_size for f in bench.folder.glob('epoch-%d/appendonlydir/*' % new.epoch))
        print('  %10s files, %6s chunks, server %4d MiB, log %4d MiB: a new leader after %.2f s, the next settled file after '
              '%.2f s (worst of %d: %.2f)' % (format(files, ','), format(chunks, ','), used >> 20, size >> 20,
                                              statistics.median(leads), statistics.median(times), rounds, max(times)))
        bench.end()


def join(bench, rounds):
    print('join: seconds from the start of a droverd to its first settled file, others at work')
    lab = bench.new_lab('join', 40000, '1-4K')
    for ost in (1, 2):
        bench.lab('set', lab, '--ost', ost, '--state', 'slow', '--latency-ms', 20)
    bench.campaign(lab, 0)
    bench.daemon()
    redis = bench.redis()
    while bench.ledger(redis).get('discovered', 0) < 30000:
        time.sleep(0.05)
    claims, first = [], []
    for _ in range(rounds):
        began = time.monotonic()
        process = bench.daemon()
        while True:
            pending = redis('XPENDING', 'drover:%s:move' % bench.name, 'w', '-', '+', 100)
            mine = [p[0] for p in pending if b':%d:' % process.pid in p[1]]
            if mine and len(first) == len(claims):
                claims.append(time.monotonic() - began)
            done = [redis('HGET', 'drover:%s:move:progress' % bench.name, m) for m in mine]
            if any(d and int(d) > 0 for d in done):
                first.append(time.monotonic() - began)
                break
            time.sleep(0.002)
        process.terminate()
        process.wait()
        bench.daemons.remove(process)
    print('  claim after %.2f s, first settle after %.2f s (medians of %d; worst %.2f, %.2f)' % (
        statistics.median(claims), statistics.median(first), rounds, max(claims), max(first)))
    bench.end()


def workers(bench, _rounds):
    """OSTs that answer slowly: what is measured is the sharing, not this machine's processors."""
    print('workers: 800 files on OSTs that take 20 ms a request; movers in all / seconds / times one process of one mover')
    base = None
    for daemons, threads in ((1, 1), (1, 2), (2, 1), (1, 4), (4, 1)):
        lab = bench.new_lab('workers%d-%d' % (daemons, threads), 800, '1-4K')
        for ost in (1, 2):
            bench.lab('set', lab, '--ost', ost, '--state', 'slow', '--latency-ms', 20)
        bench.campaign(lab, 0, migration_workers=threads, scan_workers=1)
        began = time.monotonic()
        for _ in range(daemons):
            bench.daemon()
        subprocess.run([bench.bin / 'drover', '--config', bench.conf, 'wait', bench.name], check=True)
        seconds = time.monotonic() - began
        base = base or seconds
        print('  %d daemon%s x %d: %6.1f s  %.2f' % (daemons, ' ' if daemons == 1 else 's', threads, seconds, base / seconds))
        for process in bench.daemons:
            process.wait()
        bench.end()
        shutil.rmtree(lab, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('build', type=pathlib.Path)
    parser.add_argument('--work', type=pathlib.Path)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--only', default='failover,join,workers')
    args = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix='drover-bench.', dir=args.work))
    bench = Bench(args.build.resolve(), work)
    print('%s, %d processors, %s' % (platform.release(), os.cpu_count(), time.strftime('%Y-%m-%d')))
    try:
        for name in args.only.split(','):
            {'failover': failover, 'join': join, 'workers': workers}[name](bench, args.rounds)
            sys.stdout.flush()
    finally:
        bench.end()
        subprocess.run(['rm', '-rf', work], check=False)


main()
