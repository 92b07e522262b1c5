# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A round: a campaign on a lab of many files, by a daemon on each host, with faults while it runs; then the proof that
nothing was lost.

The lab's OSTs are two halves. A round empties one half into the other one, the next round goes the other way, so that
the lab need not be made anew, and grows old as a real file system does.
"""
import collections
import contextlib
import os
import random
import re
import shutil
import threading
import time
import traceback

import harness
from daemons import Keeper, final_state
from faults import FAULTS
from hosts import holds_lock, process_state
from watch import Sampler, Violations, WriteWatch

OSTS = 8
HALVES = ('0-3', '4-7')
END_PATIENCE_S = 150  # from the last fault to the end
STUCK_S = 60          # without a single file
FIRST_LATENCY_MS = 12
SKEW = 'skew'
SCANNERS, MOVERS = 1, 2  # threads of each daemon
THREADS = SCANNERS + MOVERS
AUDIT_FID = re.compile(rb' fid=(?:\[)?(0x[0-9a-f]+:0x[0-9a-f]+:0x[0-9a-f]+)(?:\])? bytes=')
AUDIT_LINE = re.compile(rb'\S+Z succeeded fid=\S+ bytes=\d+ layout="[^"]*" to="[^"]*" path=".*"')


class NoLeader(Exception):
    """Nobody leads just now."""


class Over(Exception):
    """The campaign ended before its last fault."""


class Lab:
    """The simulated file system, on a disk of its own, and what must stay as it is."""

    def __init__(self, folder, share, subnet, files, seed):
        folder.mkdir()
        self.site = harness.Site(folder)
        self.site.base = share.path / 'base'
        self.site.configure(base_path=self.site.base, communication_subnet=subnet, claim_timeout=2, metrics_port=0,
                            scan_workers=SCANNERS, migration_workers=MOVERS, scan_batch_size=50,
                            max_pending_migrations=3000,
                            retry_delays=','.join(['1'] * 4 + ['2'] * 12))
        self.files, self.seed = files, seed
        self.make()

    def make(self):
        """All on the first half. Most files are small and plain; some are anything that a lab knows."""
        shutil.rmtree(self.site.lab_dir, ignore_errors=True)
        shutil.rmtree(self.site.tree, ignore_errors=True)
        make_odd_files(self.site.tree, self.seed)
        self.site.make(OSTS)
        self.site.set(HALVES[1], 'closed')
        self.site.lab('import', self.site.tree, '--layout', 'mixed', '--seed', self.seed % 1000)
        self.site.lab('fill', '--files', self.files, '--size', '0-8K', '--seed', self.seed % 1000)
        self.site.set(HALVES[1], 'up')
        self.source = 0
        self.remember()

    def remember(self):
        self.digest, self.facts = self.site.digest(), harness.facts(self.site.ns, inode=True)

    def halves(self):
        """@return the OSTs to empty and those to fill, as lists of numbers"""
        numbers = [[int(half[0]) + i for i in range(4)] for half in HALVES]
        return numbers[self.source], numbers[1 - self.source]

    def turn_around(self):
        self.source = 1 - self.source


def make_odd_files(top, seed):
    """Files of many stripes, larger ones, holes, second names, names of any bytes, deep folders."""
    rng = random.Random(seed)
    harness.make_files(top, 1200, sizes=(0, 300000), dirs=20, seed=seed)
    odd = os.fsencode(top) + b'/odd'
    os.makedirs(odd)
    for i in range(40):
        name = bytes(rng.choice([c for c in range(1, 256) if c != 47]) for _ in range(rng.randint(1, 60))) + b'%d' % i
        with open(odd + b'/' + name, 'wb') as f:
            f.write(rng.randbytes(rng.randint(0, 9000)))
        if i % 2:
            os.link(odd + b'/' + name, odd + b'/link%d' % i)
    for i in range(6):
        with open(odd + b'/big%d' % i, 'wb') as f:
            f.write(rng.randbytes(rng.randint(2 << 20, 6 << 20)))
        with open(odd + b'/holes%d' % i, 'wb') as f:
            f.seek(rng.randint(1, 3 << 20))
            f.write(b'end')
    deep = odd + b'/deep' * 30
    os.makedirs(deep)
    with open(deep + b'/file', 'wb') as f:
        f.write(b'deep')
    os.symlink('nowhere', odd + b'/symlink')


class User(threading.Thread):
    """Somebody who works with the files: opens one for writing, for a while, and changes nothing."""

    def __init__(self, ns, names, seed):
        super().__init__(daemon=True)
        self.ns, self.names, self.rng = os.fsencode(ns), names, random.Random(seed)
        self.end = threading.Event()
        self.opened = 0

    def run(self):
        held = collections.deque()
        while not self.end.wait(self.rng.uniform(0.05, 0.3)):
            # A mover that is stopped does not give its lease back: an open that waits would wait long.
            with contextlib.suppress(OSError):
                held.append(os.open(self.ns + b'/' + self.rng.choice(self.names), os.O_WRONLY | os.O_NONBLOCK))
                self.opened += 1
            while len(held) > 10:
                os.close(held.popleft())
        for fd in held:
            os.close(fd)

    def stop(self):
        self.end.set()
        self.join(10)


class Plan:
    """What is to be done in a round: faults in their order, and how likely others come on top, or at the end."""

    def __init__(self, kinds, overlap=0.3, endgame=0.5):
        self.skewed = SKEW in kinds  # clocks that are apart, for all of the round
        self.kinds = [k for k in kinds if k != SKEW]
        self.overlap, self.endgame = overlap, endgame

    def __str__(self):
        return ','.join([SKEW] * self.skewed + self.kinds)


class Round:
    """One round, and all that its faults ask for."""

    def __init__(self, number, seed, plan, cluster, share, lab, folder, verbose=False):
        self.number, self.seed, self.plan, self.verbose = number, seed, plan, verbose
        self.cluster, self.share, self.lab, self.site = cluster, share, lab, lab.site
        self.name = f'round-{number}'
        self.dir = folder / self.name
        self.dir.mkdir()
        self.rng = random.Random(seed)
        self.patience = harness.PATIENCE
        self.began = time.monotonic()
        self.events = open(self.dir / 'events.log', 'w')
        self.violations = Violations()
        self.violations.say = lambda text: self.say(text)
        self.done = collections.Counter([SKEW] * plan.skewed)  # faults by kind
        self.failovers = []                # seconds from a death to the first write that the next leader's server takes
        self.recoveries = []               # seconds from the end of a fault to the next file that counts
        self.notes = []
        self.alone = True
        self.was_cut = self.folder_failed = False
        self.threads = []
        self.keeper = Keeper(self)
        self.watch = WriteWatch(self.site.base / self.name, self.violations)
        self.sampler = Sampler(self)
        self.user = None

    def say(self, text):
        line = f'{time.monotonic() - self.began:7.2f}  {text}'
        self.events.write(line + '\n')
        self.events.flush()
        if self.verbose or text.startswith('VIOLATION'):
            print(f'    {line}', flush=True)

    # what faults ask for

    def server(self):
        """The server that took the last write, and still runs."""
        def look():
            server, at = self.watch.now or (None, 0)
            return server if time.monotonic() - at < 1 and process_state(server.pid) not in (None, 'Z', 'X') else None
        return self._look_for(look)

    def server_host(self):
        now = self.watch.now
        return next((h for h in self.cluster.hosts if now and h.address == now[0].address), None)

    def leader(self):
        """The host whose daemon holds the lock, when its server answers."""
        def look():
            server = self.server()
            return next((h for h in self.cluster.hosts if h.address == server.address and h.daemon.alive() and
                         holds_lock(h.daemon.pid)), None)
        return self._look_for(look)

    def _look_for(self, look):
        end = time.monotonic() + (self.patience if self.alone else 1)
        while True:
            found = look()
            if found:
                return found
            if self.is_over():
                raise Over
            if time.monotonic() > end:
                raise NoLeader
            time.sleep(0.02)

    def followers(self):
        leader = self.leader()
        found = [h for h in self.keeper.running() if h is not leader]
        if not found:
            raise NoLeader
        return found

    def epoch(self):
        return self.watch.epochs[-1][0] if self.watch.epochs else 0

    def progress(self):
        return self.sampler.last['progress']

    def workers(self):
        return self.sampler.last['workers'] if time.monotonic() - self.sampler.last_at < 3 else []

    def is_over(self):
        return final_state(self.site.base / self.name)

    def next_epoch(self, epoch, began):
        """Somebody must lead anew."""
        with self.violations.noting('stuck'):
            harness.until(f'an epoch after {epoch}', lambda: self.epoch() > epoch or self.is_over(), self.patience)
            if self.epoch() > epoch:
                self.failovers.append(self.watch.epochs[-1][1] - began)
                self.say(f'epoch {self.epoch()} took its first write after {self.failovers[-1]:.2f} s')

    def background(self, function, *args):
        """Runs function(event, *args). @return what ends it"""
        event = threading.Event()
        thread = threading.Thread(target=function, args=(event, *args), daemon=True)
        thread.start()

        def end():
            event.set()
            thread.join(10)
        return end

    # the round

    def run(self):
        try:
            self._start()
            with contextlib.suppress(Over):
                for i, kind in enumerate(self.plan.kinds):
                    self._pace(len(self.plan.kinds) - i)
                    self._inject(kind)
            self._finish()
        except AssertionError as e:
            self.violations.add('stuck', str(e))
        except Exception:
            self.violations.add('harness', traceback.format_exc())
        finally:
            self._close()
        if not any(kind in ('stuck', 'harness') for kind, _ in self.violations.found):
            self._check()
        self.events.close()
        return self

    def _start(self):
        self.sources, self.targets = self.lab.halves()
        self.expected = self.site.names_on(*self.sources)
        self.latency = FIRST_LATENCY_MS
        self._set_latency(self.latency)
        self.site.start(self.name, osts=','.join(map(str, self.sources)))
        self.watch.start()
        self.keeper.start_all()
        self.sampler.start()
        harness.until('files move', lambda: self.sampler.last and self.progress()['succeeded'] > 0)
        self.user = User(self.site.ns, sorted(self.expected), self.seed)
        self.user.start()
        self.say(f'{len(self.expected)} names on OSTs {self.sources}; faults: {self.plan}')

    def _set_latency(self, ms):
        if ms:
            self.site.set(','.join(map(str, self.targets)), 'slow', latency_ms=ms)
        else:
            self.site.set(','.join(map(str, self.targets)), 'up')

    def _pace(self, faults_left):
        """Slows down what would be over before its last fault."""
        rest = 1 - self.progress()['succeeded'] / len(self.expected)
        if rest < 0.15 + 0.1 * faults_left and self.latency < 2000:
            self.latency *= 2 if rest > 0.3 else 4
            self.say(f'{rest:.0%} are left: latency {self.latency} ms')
            self._set_latency(self.latency)

    def _inject(self, kind, inner=False):
        """A fault, and perhaps another one on top of it."""
        fault = FAULTS[kind]
        self.alone = not inner
        seconds = fault.lasts(self.rng)
        second = None
        if not inner and self.rng.random() < self.plan.overlap:
            others = [k for k in FAULTS if FAULTS[k].what not in (fault.what, 'leader')]
            second = self.rng.choice(others)
        time.sleep(self.rng.uniform(0, 0.5))
        try:
            with fault.manager(self):
                self.done[kind] += 1
                if second and fault.what != 'leader':
                    time.sleep(seconds * self.rng.uniform(0, 0.6))
                    self.alone = False
                    self._inject(second, inner=True)
                time.sleep(seconds * 0.5 if second else seconds)
        except NoLeader:
            if inner:
                self.say(f'nobody leads: no {kind}')
            else:
                self.violations.add('stuck', f'nobody leads within {self.patience} s: no {kind}')
        if not inner:
            self.alone = True
            self._recover(kind)

    def _recover(self, kind):
        """Healed: within a while the next files count."""
        began = time.monotonic()
        before = self.sampler.last

        def goes_on():
            now = self.sampler.last
            return self.is_over() or (self.sampler.last_at > began and (now['epoch'] != before['epoch'] or
                                      now['progress']['succeeded'] > before['progress']['succeeded']))
        harness.until(f'files move after {kind}', goes_on, self.patience, every=0.05)
        self.recoveries.append((time.monotonic() - began, kind))
        if self.is_over():
            self.say('over before the last fault')
            raise Over

    def _finish(self):
        """Full speed, perhaps with a last fault in the last moments; until all daemons are gone."""
        if self.user:
            self.user.stop()
        self._set_latency(0)
        if self.rng.random() < self.plan.endgame:
            kind = self.rng.choice(['kill-leader', 'kill-server', 'kill-follower', 'kill-new-leader'])
            share = self.rng.uniform(0.97, 1)
            self.alone = False  # the end may come first
            with contextlib.suppress(Over, NoLeader):
                self._await_share(share)
                with FAULTS[kind].manager(self):
                    self.done[kind] += 1
            self.alone = True
        end, last, moved = time.monotonic() + END_PATIENCE_S, None, time.monotonic()
        while not (self.is_over() and self.keeper.all_ended()):
            now = self.sampler.last and (self.sampler.last['progress'], self.sampler.last['state'])
            if now != last:
                last, moved = now, time.monotonic()
            assert time.monotonic() - moved < STUCK_S, f'nothing has changed for {STUCK_S} s: {self.sampler.last}'
            assert time.monotonic() < end, f'not over {END_PATIENCE_S} s after the last fault: {self.sampler.last}'
            time.sleep(0.05)
        self.say(f'over: {self.is_over()}')

    def _await_share(self, share):
        end = time.monotonic() + END_PATIENCE_S
        while time.monotonic() < end:
            p = self.sampler.last['progress']
            if self.is_over():
                raise Over
            if p['succeeded'] + p['unneeded'] >= share * len(self.expected):
                return
            time.sleep(0.02)
        raise Over

    def _close(self):
        """Whatever happened: everything healed, nothing runs."""
        self.cluster.heal()
        self.share.heal()
        if self.user:
            self.user.stop()
        self.seconds = time.monotonic() - self.began
        for part in (self.sampler, self.watch, self.keeper):
            if part.is_alive():
                part.stop()
        self.keeper.close()
        with self.violations.noting('left'):
            harness.until('no process of the campaign is left',
                          lambda: not harness.processes_below(self.site.base / self.name), 15)
        self.site.set(f'0-{OSTS - 1}', 'up')

    # the proof

    def _check(self):
        site, expected = self.site, self.expected
        status = harness.check_status(site.drover('status', self.name, '--json').raw)
        if status['state'] != 'completed':
            self.violations.add('state', f'{status["state"]}: {status["progress"]} {status.get("reasons")}')
        for kind, check in (('lab', self._check_lab), ('objects', lambda: site.assert_empty(*self.sources)),
                            ('files', self._check_files), ('counts', lambda: self._check_counts(status, expected)),
                            ('report', self._check_report), ('claims', self._check_claims),
                            ('audit', lambda: self._check_audit(expected))):
            with self.violations.noting(kind):
                began = time.monotonic()
                check()
                self.say(f'{kind}: right ({time.monotonic() - began:.1f} s)')
        if self.sampler.samples < 3 or self.watch.accepted < 3:
            self.violations.add('harness', f'{self.sampler.samples} samples, {self.watch.accepted} writes: no proof')

    def _check_lab(self):
        r = self.site.lab('check', check=None)
        assert r.code == 0, f'drover-lab check: {r}'

    def _check_files(self):
        now = self.site.digest()
        assert now == self.lab.digest, f'contents differ: {difference(self.lab.digest, now)}'
        harness.assert_same(self.lab.facts, harness.facts(self.site.ns, inode=True), 'the name space')

    def _check_counts(self, status, expected):
        """Each name once. Where the file of counts was cut, a file may be found under another class, or not at all."""
        p = status['progress']
        done = p['succeeded'] + p['unneeded'] + p['gone']
        assert p['skipped'] == p['failed'] == p['gone'] == 0, p
        assert done == p['discovered'], p
        second_names = len(expected) - len(set(expected.values()))
        if p['unneeded'] > second_names:
            self.notes.append(f'{p["unneeded"]} unneeded, of {second_names} second names')
        if self.was_cut:
            assert p['discovered'] <= len(expected), f'{len(expected)} names: {p}'
            if p['discovered'] < len(expected):
                self.notes.append(f'{len(expected) - p["discovered"]} names were moved before the cut, not found again')
        else:
            assert p['discovered'] == len(expected), f'{len(expected)} names: {p}'

    def _check_report(self):
        report = self.site.report(self.name)
        found = {o['ost']: (o['ready_to_remove'], o['objects'], o['files_left']) for o in report['osts']}
        assert found == {o: (True, 0, 0) for o in self.sources}, found

    def _check_claims(self):
        """Where nothing but kills happened, none but the claims of the killed expire: one for each of their threads."""
        if set(self.done) - {SKEW, 'kill-leader', 'kill-server', 'kill-follower', 'kill-all'}:
            return
        returned = sum(int(n) for d in self.keeper.daemons for n in re.findall(r' claims-returned jobs=(\d+)', d.log()))
        most = self.keeper.kills * THREADS
        assert returned <= most, f'{returned} claims expired; {self.keeper.kills} daemons of {most} threads were killed'

    def _check_audit(self, expected):
        """
        Every file is in a log of where it was moved, by its FID. While the folder takes no writes, lines wait in the
        memory of their worker: those of a killed one are lost, and a line may be torn. And where the file of the counts
        was cut, nobody remembers that a killed worker held a file that it had just moved, and not yet logged.
        """
        logs = sorted((self.site.base / self.name / 'logs').glob('*.succeeded.log'))
        lines = [line for log in logs for line in log.read_bytes().split(b'\n') if line]
        torn = sum(not AUDIT_LINE.fullmatch(line) for line in lines)
        logged = {inode_of(fid.decode()) for line in lines for fid in AUDIT_FID.findall(line)}
        missing = [path for path, inode in expected.items() if inode not in logged]
        if self.was_cut and missing:
            self.notes.append(f'{len(missing)} files are not in the logs of daemons killed with the counts')
            missing = []
        if self.folder_failed:
            if torn:
                self.notes.append(f'{torn} lines of the logs are torn')
            if self.keeper.kills and missing:
                self.notes.append(f'{len(missing)} files are not in the logs of daemons killed when those were closed')
                missing = []
            torn = 0
        assert not missing, f'{len(missing)} files are in no log: {missing[:3]}'
        assert not torn, f'{torn} lines of the logs are torn'

    # the results

    def failed(self):
        return bool(self.violations.found)

    def line(self):
        faults = ' '.join(f'{k}:{n}' if n > 1 else k for k, n in sorted(self.done.items()))
        verdict = 'ok' if not self.failed() else 'VIOLATED ' + ','.join(sorted({k for k, _ in self.violations.found}))
        line = f'round {self.number}: seed {self.seed}, {len(self.expected)} names, {self.seconds:.0f} s, ' \
            f'epochs {self.epoch()}, samples {self.sampler.samples} ({self.sampler.missed} missed), ' \
            f'writes {self.watch.accepted}, faults [{faults}]: {verdict}'
        return '\n    '.join([line, *[f'note: {n}' for n in self.notes]])

    def keep(self, folder):
        """All that helps to understand what happened."""
        target = folder / f'seed-{self.seed}'
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.dir, target)
        with open(target / 'violations.txt', 'w') as f:
            for kind, text in self.violations.found:
                f.write(f'{kind}: {text}\n\n')
        for name, text in self.watch.server_logs().items():
            (target / f'{name}.redis.log').write_text(text)
        with contextlib.suppress(OSError, shutil.Error):
            shutil.copytree(self.site.base / self.name, target / 'campaign', symlinks=True)
        return target

    def discard(self):
        self.watch.close_logs()
        shutil.rmtree(self.site.base / self.name, ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)


def inode_of(fid):
    """A lab's FID is made of the inode's number and generation."""
    seq, oid, _ = (int(part, 16) for part in fid.split(':'))
    return (seq - 0x200000400 << 32) + oid


def difference(before, after):
    a, b = set(before.splitlines()), set(after.splitlines())
    return f'-{len(a - b)} +{len(b - a)} {sorted(a - b)[:2]} {sorted(b - a)[:2]}'
