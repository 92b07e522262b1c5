#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures the HSM programs on a list of 350,000 actions, and beside them the Python programs of the documented system where they are.

    bench/hsm.py BUILD_DIR [--actions N] [--work DIR] [--rounds N] [--history N]

HSM_PYTHON_SRC names the folder with the package lustre_hsm_action_stream; HSM_PYTHON the interpreter that has redis and yaml (python3).
Each figure is user CPU of the whole process and its peak memory; the best of the rounds counts. --history: a stream of so many entries, of
which 1,000 actions are live at the end.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

STATES = ['WAITING', 'STARTED', 'SUCCEED']
PARTS = {'hsm-action-shipper': 'shipper', 'hsm-stream-stats': 'stats', 'hsm-action-top': 'viewer', 'hsm-stream-tail': 'tail'}


def line(i, state=None):
    fid = '[0x%x:0x%x:0x0]' % (0x200000402 + i // 100000, i % 100000)
    return ('lrh=[type=10680000 len=168 idx=%d/%d] fid=%s dfid=%s compound/cookie=0x0/0x%x action=ARCHIVE archive#=1 flags=0x0 '
            'extent=0x0-0xffffffffffffffff gid=0x0 datalen=19 status=%s data=[7461673D666173742C76333D]\n'
            % (1 + i // 60000, i % 60000 + 1, fid, fid, 0x6b02b268 + i, state or STATES[i % 3]))


def write(path, n, changed=range(0)):
    with open(path, 'w') as f:
        f.writelines(line(i, 'FAILED' if i in changed else None) for i in range(n))


class Bench:
    def __init__(self, build, work, rounds):
        self.bin, self.work, self.rounds = build / 'bin', work, rounds
        self.python = os.environ.get('HSM_PYTHON_SRC')
        self.socket = work / 's'
        self.port = 16379
        self.server = subprocess.Popen(['redis-server', '--port', str(self.port), '--unixsocket', self.socket, '--save', '', '--dir', work],
                                       stdout=subprocess.DEVNULL)
        while subprocess.run(['redis-cli', '-s', self.socket, 'ping'], capture_output=True).stdout != b'PONG\n':
            time.sleep(0.05)
        self.actions = work / 'mdt' / 'fs-MDT0000' / 'hsm' / 'actions'
        self.actions.parent.mkdir(parents=True)
        self.config = work / 'c.yaml'
        self.config.write_text(f'redis_host: 127.0.0.1\nredis_port: {self.port}\nredis_db: 1\nredis_stream_prefix: "hsm:actions"\n'
                               f'mdt_watch_glob: "{work}/mdt/*-MDT????/hsm/actions"\ncache_path: {work}/cache\npoll_interval: 20\n'
                               'reconcile_interval: 21600\ntrim_chunk_size: 1000\nuse_approximate_trimming: true\nlog_level: ERROR\n')

    def close(self):
        self.server.kill()
        self.server.wait()

    def redis(self, *words):
        return subprocess.run(['redis-cli', '-s', self.socket, '-n', '1', *map(str, words)], check=True, capture_output=True, text=True).stdout

    def forget(self):
        self.redis('FLUSHALL')
        (self.work / 'cache').unlink(missing_ok=True)

    def once(self, command, env=None):
        """(user, system, wall seconds, MiB)"""
        began = time.monotonic()
        pid = os.posix_spawn(command[0], [os.fspath(w) for w in command], env or dict(os.environ),
                             file_actions=[(os.POSIX_SPAWN_OPEN, 1, '/dev/null', os.O_WRONLY, 0)])
        _, status, usage = os.wait4(pid, 0)
        if status:
            sys.exit('%s: status %d' % (command, status))
        return usage.ru_utime, usage.ru_stime, time.monotonic() - began, usage.ru_maxrss / 1024

    def run(self, theirs, program, *words):
        if theirs:
            env = dict(os.environ, PYTHONPATH=self.python)
            return self.once([shutil.which(os.environ.get('HSM_PYTHON', 'python3')), '-c',
                              f'import sys; sys.argv[0] = "x"; from lustre_hsm_action_stream.{PARTS[program]} import main; main()', *words], env)
        return self.once([self.bin / program, *words])

    def measure(self, what, program, *words, before=None, aim=''):
        for theirs in [False, True][:2 if self.python else 1]:
            took = []
            for _ in range(self.rounds if not theirs else 1):
                if before:
                    before(theirs)
                took.append(self.run(theirs, program, *words))
            best = min(took)
            print('%-46s %-7s %7.2f s user %6.2f s system %7.2f s wall %7.1f MiB   %s' % (
                what, 'Python' if theirs else 'drover', *best, '' if theirs else aim), flush=True)


def shipping(bench, n):
    def first(theirs):
        bench.forget()
        write(bench.actions, n)

    def unchanged(theirs):
        bench.forget()
        write(bench.actions, n)
        bench.run(theirs, 'hsm-action-shipper', '-c', bench.config, '--run-once')

    def changed(theirs):
        unchanged(theirs)
        write(bench.actions, n, range(1000, 1000 + n // 100))

    words = ['-c', bench.config, '--run-once']
    bench.measure('first ship of %d actions' % n, 'hsm-action-shipper', *words, before=first, aim='aim: 1.5 s user, 100 MiB')
    bench.measure('a poll of an unchanged file, as a process', 'hsm-action-shipper', *words, before=unchanged, aim='aim: 0.3 s')
    bench.measure('1% of the lines changed', 'hsm-action-shipper', *words, before=changed)


def reading(bench, n):
    bench.forget()
    write(bench.actions, n)
    bench.run(False, 'hsm-action-shipper', '-c', bench.config, '--run-once')
    where = ['--host', '127.0.0.1', '--port', str(bench.port), '--db', '1']
    bench.measure('statistics of %d entries' % n, 'hsm-stream-stats', '-c', bench.config, aim='aim: 0.5 s user, 80 MiB')
    bench.measure('the first frame of top', 'hsm-action-top', *where, '--run-once', aim='aim: 0.5 s user, 80 MiB')


def history(bench, entries):
    """Old actions came and went: the readers' memory must not know."""
    bench.redis('FLUSHALL')
    script = '''for i = 1, 1000 do
      local n = tonumber(ARGV[1]) + i
      redis.call('XADD', KEYS[1], '*', 'data', string.format('{"event_type":"NEW","cat_idx":1,"rec_idx":%d,"fid":"0x1:0x%x:0x0","action":"ARCHIVE","status":"WAITING","mdt":"fs-MDT0000","timestamp":1,"action_key":"k%d"}', n, n, n))
      if n <= tonumber(ARGV[2]) - 1000 then
        redis.call('XADD', KEYS[1], '*', 'data', string.format('{"event_type":"PURGED","cat_idx":1,"rec_idx":%d,"mdt":"fs-MDT0000","timestamp":2,"status":"PURGED","action_key":"k%d"}', n, n))
      end
    end'''
    actions = entries // 2 + 500
    for at in range(0, actions, 1000):
        bench.redis('EVAL', script, 1, 'hsm:actions:fs-MDT0000', at, actions)
    bench.measure('statistics of %s entries, 1,000 live' % bench.redis('XLEN', 'hsm:actions:fs-MDT0000').strip(), 'hsm-stream-stats',
                  '-c', bench.config)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', type=pathlib.Path)
    parser.add_argument('--actions', type=int, default=350000)
    parser.add_argument('--history', type=int, default=0)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--work', type=pathlib.Path)
    args = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix='drover-bench.', dir=args.work))
    bench = Bench(args.build.resolve(), work, args.rounds)
    try:
        write(bench.actions, args.actions)
        print('%d actions, %.0f MB; this machine has %d processors' % (args.actions, bench.actions.stat().st_size / 1e6, os.cpu_count()))
        shipping(bench, args.actions)
        reading(bench, args.actions)
        if args.history:
            history(bench, args.history)
    finally:
        bench.close()
        shutil.rmtree(work)


main()
