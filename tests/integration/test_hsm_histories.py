# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Random histories of an actions file, with everything that can happen to shippers in between. After every poll that ended well, what the stream
says is live is exactly what the file holds, to a consumer that was there all the time and to one that begins now; and the one that was there
all the time never saw an event that could not be: a NEW of what is live, a PURGED of what is not.
"""
import json
import os
import random
import shutil
import subprocess
import time

import pytest

import hsm
from harness import until
from hsm_place import SHIPPER, Place, Proxy, Wrong, ended_within, line

KEY = 'hsm:actions:fs-MDT0000'
BAD = [b'no action\n', b'\n', b'lrh=[type=10680000 len=136 idx=7/1] action=ARCHIVE\n', b'lrh=[idx=7/2] fid=[0x1\n',
       b'idx=7/3 fid=\xff\xfe\n', b'idx=7/4 fid=[a\0b]\n', b'x' * 70000 + b'\n']
STATES = ['WAITING', 'STARTED', 'SUCCEED', 'FAILED', 'CANCELED']


class Consumer:
    """Sees every event once, in order."""

    def __init__(self, server):
        self.server = server
        self.begin_anew()

    def begin_anew(self):
        self.last, self.live = '-', {}

    def read(self):
        for id, fields in self.server('XRANGE', KEY, self.last if self.last == '-' else '(' + self.last, '+'):
            self.last = id.decode()
            self.take(json.loads(fields[1]))

    def take(self, e):
        key, kind = (e['cat_idx'], e['rec_idx']), e['event_type']
        there = self.live.get(key)
        if (kind == 'NEW') == (there is not None) or (there and there['action_key'] != e['action_key']):
            raise Wrong(f'{self.last}: {e} over {there}')
        if kind == 'UPDATE' and there['raw'] == e['raw']:
            raise Wrong(f'{self.last}: {e} changes nothing')
        if kind == 'PURGED':
            del self.live[key]
        else:
            self.live[key] = e


class History:
    """The file, and what is done to it."""

    def __init__(self, place, rng):
        self.place, self.rng, self.host = place, rng, 'mds1'
        self.lines, self.next = {}, 1
        self.write()

    def write(self):
        parts = [x.encode() + b'\n' for x in self.lines.values()]
        for _ in range(self.rng.choice([0, 0, 0, 2])):
            parts.insert(self.rng.randint(0, len(parts)), self.rng.choice(BAD))
        self.place.write(b''.join(parts), host='real')
        path = self.place.path(host=self.host)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.place.path(host='real'), path)

    def add(self):
        for _ in range(self.rng.choice([1, 3, 40])):
            # Now and then of a file that has one already.
            fid = self.rng.choice([None, None, f'0x5:0x{self.rng.randint(1, 3)}:0x0'])
            self.lines[self.next] = line(self.next, fid=fid, action=self.rng.choice(['ARCHIVE', 'RESTORE', 'REMOVE']))
            self.next += 1

    def change(self):
        for rec in self.sample():
            old = self.lines[rec]
            self.lines[rec] = old[:old.index('status=')] + f'status={self.rng.choice(STATES)} data=[]'

    def end(self):
        for rec in self.sample():
            del self.lines[rec]

    def end_all(self):
        self.lines.clear()

    def reuse(self):
        for rec in self.sample():
            self.lines[rec] = line(rec, cookie=self.rng.randint(1, 1 << 62), fid=self.rng.choice([None, '0x7:0x7:0x0']))

    def shuffle(self):
        items = list(self.lines.items())
        self.rng.shuffle(items)
        self.lines = dict(items)

    def sample(self):
        return self.rng.sample(list(self.lines), min(len(self.lines), self.rng.choice([1, 2, 30])))

    def go_on(self):
        for _ in range(self.rng.randint(1, 3)):
            step = self.rng.choice([self.add, self.add, self.change, self.change, self.end, self.end, self.reuse, self.shuffle,
                                    self.end_all if self.rng.random() < 0.1 else self.add])
            step()
        self.write()


class Fate:
    """What happens to shippers, caches and the server."""

    def __init__(self, place, history, consumer, proxy, rng):
        self.place, self.history, self.consumer, self.proxy, self.rng = place, history, consumer, proxy, rng
        self.url = f'unix://{proxy.path}?db=1'
        self.old_cache = None

    def run(self, *words, may_fail=False):
        done = subprocess.run([SHIPPER, '-c', self.place.config(self.history.host, redis_url=self.url), '--run-once', *words],
                              capture_output=True, text=True, errors='backslashreplace')
        assert done.returncode == 0 or (may_fail and done.returncode == 1), done.stderr

    def killed(self):
        """At any moment."""
        process = subprocess.Popen([SHIPPER, '-c', self.place.config(self.history.host, redis_url=self.url), '--run-once'],
                                   stderr=subprocess.DEVNULL)
        time.sleep(self.rng.random() * 0.012)
        process.kill()
        process.wait()

    def cut(self):
        self.proxy.cut(self.rng.choice([b'EVALSHA', b'XINFO', b'XRANGE']), self.rng.choice(['before', 'after']))
        self.run(may_fail=True)
        self.proxy.cut(None, None)

    def cache_lost(self):
        self.cache().unlink(missing_ok=True)

    def cache_torn(self):
        if self.cache().exists():
            data = self.cache().read_bytes()
            self.cache().write_bytes(data[:self.rng.randint(0, len(data))])

    def cache_old(self):
        """As after a restore of the server's disk, or when the cache could not be written."""
        if self.old_cache and self.rng.random() < 0.7:
            self.cache().write_bytes(self.old_cache)
        elif self.cache().exists():
            self.old_cache = self.cache().read_bytes()

    def fail_over(self):
        path = self.place.path(host=self.history.host)
        path.unlink()
        self.history.host = 'mds2' if self.history.host == 'mds1' else 'mds1'
        self.history.write()

    def both(self):
        """Two servers believe for a moment that they serve the MDT, and one of them saw it some time ago."""
        hosts = []
        for host in ('mds1', 'mds2'):
            path = self.place.path(host=host)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                os.link(self.place.path(host='real'), path)
            hosts.append(subprocess.Popen([SHIPPER, '-c', self.place.config(host, redis_url=self.url), '--run-once'],
                                          stderr=subprocess.DEVNULL))
        codes = [p.wait() for p in hosts]
        assert 0 in codes, codes
        self.place.path(host='mds2' if self.history.host == 'mds1' else 'mds1').unlink()

    def maintenance(self):
        # What is trimmed before a consumer reads it, that one never sees.
        self.run()
        self.consumer.read()
        self.run('--maintenance-now')

    def orphan(self):
        """Some other program's."""
        rec = 100000 + self.rng.randint(1, 1000)
        if (1, rec) not in self.consumer.live:
            self.place.server.add(KEY, hsm.event(rec))

    def server_lost(self):
        self.place.server('FLUSHALL')
        self.consumer.begin_anew()

    def server_restarted(self):
        self.place.server.kill()
        self.place.server.start()

    def cache(self):
        return self.place.cache(self.history.host)

    def strike(self):
        if self.rng.random() < 0.6:
            self.rng.choice([self.killed, self.killed, self.killed, self.cut, self.cut, self.cache_lost, self.cache_torn, self.cache_old,
                             self.fail_over, self.both, self.maintenance, self.orphan,
                             self.server_lost if self.rng.random() < 0.2 else self.killed,
                             self.server_restarted if self.rng.random() < 0.2 else self.cut])()


def seen_from_now(server):
    live = {}
    for _, fields in server('XRANGE', KEY, '-', '+'):
        e = json.loads(fields[1])
        key = e['cat_idx'], e['rec_idx']
        if e['event_type'] == 'PURGED':
            live.pop(key, None)
        else:
            live[key] = e['raw']
    return live


@pytest.mark.parametrize('seed', range(8))
def test_the_stream_says_what_the_file_holds_whatever_happens(tmp_path, seed):
    rng = random.Random(seed if os.environ.get('DROVER_SEED') is None else int(os.environ['DROVER_SEED']) + seed)
    place = Place(tmp_path)
    proxy = Proxy(tmp_path, place.server.path)
    try:
        consumer = Consumer(place.server)
        history = History(place, rng)
        fate = Fate(place, history, consumer, proxy, rng)
        for _ in range(int(os.environ.get('DROVER_STEPS', 60))):
            history.go_on()
            fate.strike()
            fate.run()
            consumer.read()
            expected = sorted(history.lines.values())
            assert sorted(e['raw'] for e in consumer.live.values()) == expected
            assert sorted(seen_from_now(place.server).values()) == expected
    finally:
        proxy.close()
        place.close()


@pytest.mark.parametrize('maintains', [False, True])
def test_a_daemon_that_is_killed_again_and_again_loses_and_doubles_nothing(tmp_path, maintains):
    rng = random.Random(1000 + maintains)
    options = {'poll_interval': 0.002, 'reconcile_interval': 0.03 if maintains else 1000}
    place = Place(tmp_path)
    try:
        consumer = Consumer(place.server)
        history = History(place, rng)
        for _ in range(12):
            daemon = place.start(**options)
            for _ in range(rng.randint(1, 6)):
                history.go_on()
                time.sleep(rng.random() * 0.01)
            if rng.random() < 0.5:
                daemon.kill()
                daemon.wait()
                daemon = place.start(**options)

            def agrees():
                # What is trimmed before a consumer reads it, that one never sees; one that begins now sees all that counts.
                if maintains:
                    live = seen_from_now(place.server).values()
                else:
                    consumer.read()
                    live = (e['raw'] for e in consumer.live.values())
                return sorted(live) == sorted(history.lines.values())

            until('the stream says what the file holds', agrees)
            daemon.kill() if rng.random() < 0.5 else ended_within(daemon)
            daemon.wait()
            if rng.random() < 0.2:
                shutil.rmtree(place.cache(), ignore_errors=True)
                place.cache().unlink(missing_ok=True)
    finally:
        place.close()
