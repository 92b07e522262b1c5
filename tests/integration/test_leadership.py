# SPDX-License-Identifier: LGPL-2.1-or-later
"""The embedded engine: election, epochs, the lock, the watchdog, take-over, and what becomes of claims meanwhile."""
import concurrent.futures
import contextlib
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from harness import MIB, PATIENCE, ROOT, processes_below, run, stopped, until

REAL_SERVER = shutil.which('redis-server') or shutil.which('valkey-server')


def campaign(site, files=120, latency=40, workers=2, osts='0', **options):
    """A campaign that empties OST 0 of files, and lasts until hurry(). @return its daemons, when they all work"""
    site.configure(**{'scan_batch_size': 2, 'claim_timeout': 5, **options})
    site.make(4)
    site.only_on([0], 4, lambda: site.lab('fill', '--files', files, '--size', '1-8K'))
    site.names = site.names_on(0)
    site.before = site.digest()
    site.set('1-3', 'slow', latency_ms=latency)
    site.start(osts=osts)
    daemons = [site.daemon() for _ in range(workers)]
    site.running(workers=workers)
    until('files move', lambda: site.progress()['succeeded'] > 0)
    return daemons


def big_files(site, n, size, bandwidth, **options):
    """A campaign of n files on OST 0, each a chunk of its own, that move slowly. No daemon runs yet."""
    site.configure(scan_batch_size=1, migration_workers=1, scan_workers=1, **options)
    site.make(4)
    site.tree.mkdir()
    for i in range(n):
        (site.tree / f'big{i}').write_bytes(os.urandom(size))
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    site.names = site.names_on(0)
    site.before = site.digest()
    site.set('1-3', 'slow', latency_ms=0, bandwidth=bandwidth)
    site.start(osts='0')


def hurry(site):
    site.set('1-3', 'up')


def finish(site, again=0):
    """
    Completed, with nothing on the source; each file counted once, as moved; no byte changed; no object leaked.
    again: so many may have been moved by a worker that could not tell. Daemons are not waited for, which takes a while.
    @return the progress
    """
    assert site.wait() == 0, site.status()
    for daemon in site.daemons:
        daemon.alive() and daemon.kill()
    until('no process of the campaign is left', lambda: not processes_below(site.dir), 5)
    assert site.state() == 'completed'
    report = site.report()
    assert report['leftovers'] == [] and report['osts'][0]['ready_to_remove'] is True, report
    site.assert_empty(0)
    site.check()
    progress = site.progress()
    assert progress['discovered'] == progress['succeeded'] + progress['unneeded'] == len(site.names), progress
    assert progress['unneeded'] <= again, progress
    assert site.digest() == site.before
    return progress


def next_leader(site, epoch, name='evac', timeout=15):
    """@return the status, once somebody leads in this epoch or a later one"""
    return until(f'a leader in epoch {epoch}', lambda: (s := site.status(name))['live'] and s['epoch'] >= epoch and s,
                 timeout)


def all_killed(site):
    """No daemon and no server is left; what they did until then is known."""
    until('status.json tells of files', lambda: json.loads((site.base / 'evac' / 'status.json').read_text())
          ['progress']['succeeded'] > 0, 5)
    for daemon in site.daemons:
        daemon.alive() and daemon.kill()
    until('all is at rest', lambda: not processes_below(site.base), 5)


def follower(site):
    leader = until('a leader', site.leader)
    return next(d for d in site.daemons if d.alive() and d is not leader)


def server_of(site, name='evac'):
    pid, = site.servers(name)
    return pid


def open_files(pid):
    found = []
    for fd in os.listdir(f'/proc/{pid}/fd'):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f'/proc/{pid}/fd/{fd}'))
    return found


def claims(site, name='evac'):
    """What is claimed: [(entry, holder, how often it changed hands)]."""
    redis = site.redis(name)
    found = []
    for kind in ('scan', 'move'):
        entries = redis('XPENDING', f'drover:{name}:{kind}', 'w', '-', '+', 1000)
        found += [(e[0].decode(), e[1].decode(), e[3]) for e in entries]
    redis.close()
    return found


def claims_of(site, daemon):
    return [c for c in claims(site) if f':{daemon.pid}:' in c[1]]


def moves(site):
    """Paths of the files that were moved, as often as it happened; not those that were found moved."""
    return [line.partition(' path="')[2][:-1] for line in site.audit('evac', 'succeeded') if ' to=""' not in line]


def current_of(site, daemon):
    """What it moves, by its record."""
    return [c['path'] for w in site.status()['workers'] if w.get('pid') == daemon.pid for c in w['current']
            if c['worker'].startswith('move')]


def refused(site, *words, told, code=2):
    result = site.drover(*words, check=code)
    assert result.err.count('\n') == 1 and re.search(told, result.err), result
    return result


# --- a leader dies --------------------------------------------------------------------------------------------------

def test_a_follower_leads_when_the_leader_is_killed(site):
    daemons = campaign(site)
    sampler = site.sampler()
    leader, server = site.leader(), server_of(site)
    other = next(d for d in daemons if d is not leader)
    leader.kill()
    until('its server dies with it', lambda: server not in site.servers(), 1)
    status = next_leader(site, 2)
    assert status['epoch'] == 2 and site.leader() is other and other.alive()
    now = server_of(site)
    assert now != server and site.servers() == {now: 2}
    # As long as the server can serve, the lock is held.
    assert f'{site.base}/evac/leader.lock' in open_files(now)
    done = site.progress()['succeeded']
    until('it goes on', lambda: site.progress()['succeeded'] > done)
    hurry(site)
    assert site.wait() == 0
    assert sampler.stop().live > 5
    finish(site)


@pytest.mark.parametrize('workers', [1, 2])
def test_the_death_of_the_server_alone(site, workers):
    daemons = campaign(site, workers=workers)
    sampler = site.sampler()
    server = server_of(site)
    os.kill(server, signal.SIGKILL)
    next_leader(site, 2)
    assert all(d.alive() for d in daemons) and server_of(site) != server
    site.running(workers=workers)
    hurry(site)
    assert site.wait() == 0
    sampler.stop()
    finish(site)
    paths = moves(site)
    assert len(paths) == len(set(paths)) == len(site.names), 'no process died: each move is logged once'


def test_a_leader_that_is_killed_while_it_makes_its_epoch(site):
    """What it leaves is no epoch, gives its number to nobody else, and is removed by the next leader."""
    site.configure(folder_timeout=5)
    campaign(site)
    # Something to copy, so that it takes long enough to be caught at it.
    (site.base / 'evac' / 'epoch-1' / 'ballast').write_bytes(bytes(96 * MIB))
    half = site.base / 'evac' / 'epoch-2.new'
    other = follower(site)
    site.leader().kill()
    until('it makes its epoch', half.exists, 10, every=0.0005)
    os.kill(other.pid, signal.SIGSTOP)
    assert half.exists() and not (site.base / 'evac' / 'epoch-2').exists(), 'it was caught too late'
    other.kill()
    assert half.exists()
    (site.base / 'evac' / 'epoch-1' / 'ballast').unlink()
    site.daemon()
    status = next_leader(site, 3)
    assert status['epoch'] == 3
    until('what it left is removed', lambda: sorted(p.name for p in (site.base / 'evac').glob('epoch-*')) == ['epoch-1', 'epoch-3'])
    hurry(site)
    finish(site)


def test_an_epoch_being_made_by_a_dead_leader_is_never_loaded(site):
    """It may hold anything: only complete ones count."""
    daemon, = campaign(site, workers=1)
    daemon.kill()
    half = site.base / 'evac' / 'epoch-2.new' / 'appendonlydir'
    half.mkdir(parents=True)
    (half / 'appendonly.aof.manifest').write_text('file appendonly.aof.1.incr.aof seq 1 type i\n')
    (half / 'appendonly.aof.1.incr.aof').write_bytes(b'*1\r\n$8\r\nFLUSHALL\r\n')
    hurry(site)
    site.daemon()
    finish(site)


def test_nothing_of_a_good_epoch_is_removed_for_one_that_does_not_load(site):
    """Whoever must repair a campaign by hand needs the epochs that were there when it broke."""
    daemon, = campaign(site, workers=1)
    daemon.kill()
    site.daemon()
    next_leader(site, 2)
    site.leader().kill()
    until('all is at rest', lambda: not processes_below(site.base), 5)
    for aof in (site.base / 'evac' / 'epoch-2' / 'appendonlydir').glob('*.aof'):
        aof.write_bytes(b'this is no command\r\n' + aof.read_bytes())
    for _ in range(3):
        assert site.daemon().ended(20) == 1
    left = sorted(p.name for p in (site.base / 'evac').glob('epoch-*'))
    assert {'epoch-1', 'epoch-2'} <= set(left), f'the last epoch that can be loaded was removed: {left}'


# --- what is announced ----------------------------------------------------------------------------------------------

class Reader(threading.Thread):
    """Reads leader.info and secret as fast as it can, and all command lines now and then."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.error = folder, None
        self.reads, self.epochs, self.passwords = 0, [], set()
        self.end = threading.Event()

    def look(self):
        with contextlib.suppress(FileNotFoundError):
            text = (self.folder / 'leader.info').read_text()
            info = json.loads(text)
            assert info['host'] and info['pid'] > 0 and 0 < info['port'] < 65536, info
            ipaddress.ip_address(info['address'])
            self.epochs.append(info['epoch'])
            self.reads += 1
            assert not any(p in text for p in self.passwords), text
        with contextlib.suppress(FileNotFoundError), open(self.folder / 'secret', 'rb') as f:
            assert stat.S_IMODE(os.fstat(f.fileno()).st_mode) == 0o600
            password, epoch = f.read().decode().splitlines()
            assert len(password) >= 32 and epoch.isdigit()
            self.passwords.add(password)
        for entry in os.scandir(self.folder):
            if 'secret' in entry.name:
                with contextlib.suppress(FileNotFoundError):
                    assert stat.S_IMODE(entry.stat().st_mode) == 0o600, entry.name

    def look_at_processes(self):
        for pid in os.listdir('/proc'):
            if pid.isdigit():
                with contextlib.suppress(OSError), open(f'/proc/{pid}/cmdline', 'rb') as f:
                    words = f.read().decode(errors='replace')
                    assert not any(p in words for p in self.passwords), words

    def run(self):
        try:
            while not self.end.is_set():
                for _ in range(50):
                    self.look()
                self.look_at_processes()
        except BaseException as e:  # told by stop(), in the test's own thread
            self.error = e

    def stop(self):
        self.end.set()
        self.join(PATIENCE)
        if self.error:
            raise self.error
        return self


def test_an_announcement_is_never_half_and_never_tells_the_password(site):
    campaign(site, log_level='debug')
    reader = Reader(site.base / 'evac')
    reader.start()
    for epoch in range(2, 6):
        if epoch % 2:
            os.kill(server_of(site), signal.SIGKILL)
        else:
            site.leader().kill() if epoch == 2 else site.leader().terminate()
            site.daemon()
        next_leader(site, epoch)
    hurry(site)
    assert site.wait() == 0
    site.ended()
    reader.stop()
    finish(site)
    assert reader.reads > 200 and len(reader.passwords) == 5, (reader.reads, len(reader.passwords))
    assert reader.epochs == sorted(reader.epochs) and set(reader.epochs) == {1, 2, 3, 4, 5}, 'an old leader was announced'
    everything = [p for p in site.base.rglob('*') if p.is_file()] + list((site.dir / 'daemon-logs').iterdir())
    for path in everything:
        text = path.read_bytes().decode(errors='replace')
        assert not any(p in text for p in reader.passwords), path
    assert not (site.base / 'evac' / 'secret').exists() and not (site.base / 'evac' / 'leader.info').exists()


@pytest.mark.parametrize('subnet', ['127.0.0.0/8', '::1/128'])
def test_the_server_listens_inside_the_subnet_and_nowhere_else(site, subnet):
    if ':' in subnet:
        try:
            with socket.socket(socket.AF_INET6) as s:
                s.bind(('::1', 0))
        except OSError:
            pytest.skip('no IPv6 on this machine')
    campaign(site, files=40, workers=2, communication_subnet=subnet)
    info = json.loads((site.base / 'evac' / 'leader.info').read_text())
    address = ipaddress.ip_address(info['address'])
    assert address in ipaddress.ip_network(subnet)
    sockets = {f[8:-1] for f in open_files(server_of(site)) if f.startswith('socket:[')}
    listening = []
    for table in ('tcp', 'tcp6'):
        with open(f'/proc/net/{table}') as f:
            rows = [line.split() for line in f.readlines()[1:]]
        listening += [row[1] for row in rows if row[3] == '0A' and row[9] in sockets]
    words = '0100007F' if address.version == 4 else '00000000000000000000000001000000'
    assert listening == [f'{words}:{info["port"]:04X}']
    assert len(site.status()['workers']) == 2
    hurry(site)
    finish(site)


def test_a_host_without_an_address_in_the_subnet(site):
    site.make(4)
    site.lab('fill', '--files', 20, '--size', '1-8K')
    site.configure(communication_subnet='203.0.113.0/24')
    site.start(osts='0')
    daemon = site.daemon()
    assert daemon.ended(5) == 2
    assert daemon.log().count('\n') == 1 and '203.0.113.0/24' in daemon.log(), daemon.log()
    assert not list((site.base / 'evac').glob('epoch-*'))


def test_campaigns_and_daemons_share_a_host_and_its_ports(site):
    site.configure(scan_batch_size=10)
    site.make(4)
    site.lab('fill', '--files', 240, '--size', '1-8K')
    before = site.digest()
    site.set('0-1', 'closed')
    site.set('2-3', 'slow', latency_ms=40)
    site.start('one', osts='0')
    site.start('two', osts='1')
    daemons = [site.daemon('one'), site.daemon('one'), site.daemon('two')]
    def look():
        found = site.status('one')['workers'] + site.status('two')['workers']
        return len(found) == 3 and all('metrics_port' in w for w in found) and found
    workers = until('all work', look)
    ports = [w['metrics_port'] for w in workers] + \
        [json.loads((site.base / n / 'leader.info').read_text())['port'] for n in ('one', 'two')]
    assert len(set(ports)) == 5, ports
    for name in ('one', 'two'):
        redis = site.redis(name)
        assert redis('HGET', f'drover:{name}:meta', 'state') == b'running'
        redis.close()
    # A port of the command line is the user's word, and no first choice.
    taken = json.loads((site.base / 'one' / 'leader.info').read_text())['port']
    late = site.daemon('two', '--redis-port', taken)
    assert late.ended(5) == 2 and str(taken) in late.log() and late.log().count('\n') == 1, late.log()
    site.set('2-3', 'up')
    for name in ('one', 'two'):
        assert site.wait(name) == 0
    assert all(d.ended(20) == 0 for d in daemons)
    site.assert_empty(0, 1)
    assert site.digest() == before
    for name in ('one', 'two'):
        progress = site.progress(name)
        assert progress['succeeded'] == progress['discovered']


# --- the watchdog ---------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def immutable(path, *options):
    """What root cannot write to either."""
    words = ['chattr', *options, '+i', path]
    if not ROOT or not shutil.which('chattr'):
        pytest.skip('needs root and chattr')
    if subprocess.run(words, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip('no chattr +i on this file system')
    try:
        yield
    finally:
        subprocess.run(['chattr', *options, '-i', path], check=True)


def test_a_folder_that_takes_no_writes_ends_the_server_and_no_daemon(site):
    daemons = campaign(site, folder_timeout=2)
    server = server_of(site)
    with immutable(site.base / 'evac', '-R'):
        until('the server is gone', lambda: server not in site.servers(), 5)
        time.sleep(1.5)
        assert not site.servers() and all(d.alive() for d in daemons)
    next_leader(site, 2)
    hurry(site)
    assert site.wait() == 0
    assert all(d.ended(20) == 0 for d in daemons)
    finish(site)


def test_a_server_that_can_write_when_its_leader_cannot_is_killed(site):
    """The lock may be another's by now; what the server itself could still write proves nothing."""
    daemons = campaign(site, folder_timeout=2)
    server = server_of(site)
    with immutable(site.base / 'evac' / 'epoch-1' / 'alive'):
        began = time.monotonic()
        until('the server is killed', lambda: server not in site.servers(), 6)
        assert time.monotonic() - began > 1, 'a write that failed once is no reason'
        # The folder itself takes writes: somebody leads again, and writes elsewhere.
        next_leader(site, 2)
    assert any('takes no writes' in d.log() for d in daemons) and all(d.alive() for d in daemons)
    hurry(site)
    finish(site)


def killed_within(site, server, seconds=2.5):
    began = time.monotonic()
    until('the server is killed', lambda: server not in site.servers(), 10)
    took = time.monotonic() - began
    assert took < seconds, f'it served for {took:.1f} s after another led'


def test_a_leader_that_sees_a_higher_epoch_kills_its_server(site):
    """Complete, as another leader would have made it from the same data."""
    daemons = campaign(site)
    site.drover('pause', 'evac')
    counted = site.progress()
    folder, server = site.base / 'evac', server_of(site)
    shutil.copytree(folder / 'epoch-1', folder / 'copy')
    (folder / 'copy').rename(folder / 'epoch-999')
    killed_within(site, server)
    status = next_leader(site, 1000)
    assert status['epoch'] == 1000 and status['progress'] == counted and all(d.alive() for d in daemons)
    site.drover('resume', 'evac')
    hurry(site)
    finish(site)


@pytest.mark.parametrize('name', ['epoch-999', 'epoch-999.new'])
def test_an_empty_folder_with_the_name_of_a_higher_epoch(site, name):
    """Nobody leads there, and it holds nothing to go on with: the number counts, and nothing else of it."""
    daemons = campaign(site)
    server = server_of(site)
    (site.base / 'evac' / name).mkdir()
    killed_within(site, server)
    status = next_leader(site, 1000)
    assert status['epoch'] == 1000 and all(d.alive() for d in daemons)
    hurry(site)
    finish(site)


def test_a_newer_lock_ends_a_leadership(site):
    daemons = campaign(site)
    server = server_of(site)
    lock = site.base / 'evac' / 'leader.lock.7'
    lock.touch(0o600)
    killed_within(site, server)
    next_leader(site, 2)
    assert all(d.alive() for d in daemons)
    held = [f for f in open_files(server_of(site)) if '/leader.lock' in f]
    assert held == [os.fspath(lock)]
    hurry(site)
    finish(site)


@pytest.fixture
def small_disk(site):
    """The campaigns' folder on a file system of its own, which can be full."""
    site.base.mkdir()
    words = ['mount', '-t', 'tmpfs', '-o', 'size=8m,mode=755', 'drover-test', site.base]
    if not ROOT or subprocess.run(words, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip('cannot mount a tmpfs')
    try:
        yield site.base
    finally:
        left = site.close()
        subprocess.run(['umount', '-l', site.base], check=True)
        assert not left


def test_a_full_folder_stops_the_campaign_and_no_daemon(site, small_disk):
    daemons = campaign(site, folder_timeout=2)
    server = server_of(site)
    ballast = small_disk / 'ballast'
    with open(ballast, 'wb', buffering=0) as f:
        size = MIB
        while size:
            try:
                f.write(bytes(size))
            except OSError:
                size //= 2
    assert os.statvfs(small_disk).f_bavail == 0
    until('the server is gone', lambda: server not in site.servers(), 10)
    time.sleep(1)
    assert all(d.alive() for d in daemons), [d.log()[-2000:] for d in daemons]
    ballast.unlink()
    next_leader(site, 2, timeout=20)
    hurry(site)
    assert site.wait() == 0
    assert all(d.ended(20) == 0 for d in daemons)
    finish(site)


# --- take-over ------------------------------------------------------------------------------------------------------

def test_a_take_over_of_a_lock_that_nobody_holds(site):
    daemon, = campaign(site, workers=1)
    daemon.kill()
    until('all is at rest', lambda: not site.servers(), 5)
    for words in (['evac'], ['evac', '--host-is-dead', '--yes']):
        result = site.drover('takeover', *words)
        assert 'Nobody holds the lock' in result.out and result.err == ''
    assert not list((site.base / 'evac').glob('leader.lock.*'))
    refused(site, 'takeover', 'nothing', told='nothing')
    hurry(site)
    site.daemon()
    finish(site)


def test_a_take_over_from_a_leader_that_lives(site):
    """It answers; or it does not, and writes all the same."""
    campaign(site, folder_timeout=2)
    server = server_of(site)
    refused(site, 'takeover', 'evac', '--host-is-dead', '--yes', told='answers')
    with stopped(server):
        refused(site, 'takeover', 'evac', '--host-is-dead', '--yes', told='writes to the campaign')
    assert not list((site.base / 'evac').glob('leader.lock.*'))
    until('it answers again', lambda: site.status()['live'], 15)
    assert site.servers() == {server: 1}
    hurry(site)
    finish(site)


def test_a_take_over_from_a_host_that_hangs(site):
    old, = campaign(site, workers=1, folder_timeout=2, claim_timeout=2)
    server = server_of(site)
    host = site.status()['leader']
    # It watches longer than the others, so that all can watch at the same time.
    patient = site.dir / 'patient.conf'
    patient.write_text(site.conf.read_text().replace('folder_timeout = 2', 'folder_timeout = 3'))
    with stopped(old.pid, server), concurrent.futures.ThreadPoolExecutor() as pool:
        last = pool.submit(run, 'drover', '--config', patient, 'takeover', 'evac', '--host-is-dead', '--yes')
        other = site.daemon()
        words = [['evac'], ['evac', '--yes'], ['evac', '--host-is-dead']]
        results = list(pool.map(lambda w: site.drover('takeover', *w, check=2), words))
        for result in results:
            assert result.err.count('\n') == 1, result
            assert 'does not answer and does not write' in ' '.join(result.out.split()), result
        assert all(f'if you know that {host} is dead, say so: --host-is-dead' in r.err for r in results[:2]), results
        assert '--yes' in results[2].err
        assert not list((site.base / 'evac').glob('leader.lock.*'))
        result = last.result()
        assert 'Done' in result.out
        status = next_leader(site, 2)
        assert site.leader() is other
        now, = (pid for pid, epoch in site.servers().items() if epoch == 2)
        assert [f for f in open_files(now) if '/leader.lock' in f] == [f'{site.base}/evac/leader.lock.1']
        done = status['progress']['succeeded']
        until('the campaign goes on', lambda: site.progress()['succeeded'] > done)
    killed_within(site, server)
    until('it follows', lambda: old.pid in [w.get('pid') for w in site.status()['workers']], 15)
    assert 'the leadership was taken over' in old.log() or 'another leads' in old.log()
    assert site.leader() is other and site.status()['epoch'] == 2
    hurry(site)
    # What the old leader moved before it heard of it, and settled with a server that counts for nothing.
    finish(site, again=len(site.names) // 2)


# --- reprime --------------------------------------------------------------------------------------------------------

def test_reprime_of_a_campaign_at_rest(site):
    campaign(site, workers=1)
    all_killed(site)
    refused(site, 'reprime', 'evac', told='--yes')
    assert site.progress()['succeeded'] > 0
    site.names = site.names_on(0)
    assert 'begins anew' in site.drover('reprime', 'evac', '--yes').out
    status = site.status()
    assert status['state'] == 'created' and status['progress']['discovered'] == 0
    hurry(site)
    site.daemon()
    assert next_leader(site, 2)['epoch'] == 2
    finish(site)


def test_reprime_of_a_campaign_that_runs(site):
    campaign(site)
    done = until('files moved', lambda: (n := site.progress()['succeeded']) >= 5 and n)
    assert 'begins anew' in site.drover('reprime', 'evac', '--yes').out
    status = site.status()
    assert status['epoch'] == 1 and status['state'] == 'running' and status['progress']['succeeded'] < done
    hurry(site)
    end = time.monotonic() + PATIENCE
    while site.state() not in ('completed', 'failed') and time.monotonic() < end:
        time.sleep(0.01)
    progress = site.assert_moved(osts=(0,))['progress']
    # What was in hand then is found moved, or was found before it was.
    assert progress['discovered'] == progress['succeeded'] + progress['unneeded'] + progress['gone'], progress
    assert progress['discovered'] <= len(site.names) - done
    assert progress['succeeded'] > 0 and site.digest() == site.before
    report = site.report()
    assert report['leftovers'] == [] and report['osts'][0]['ready_to_remove'] is True


def spoil_the_files(site):
    for aof in (site.base / 'evac').glob('epoch-*/appendonlydir/*.aof'):
        aof.write_bytes(b'this is no command\r\n' + aof.read_bytes())


def empty_the_epochs(site):
    for folder in (site.base / 'evac').glob('epoch-*/appendonlydir'):
        shutil.rmtree(folder)


def remove_the_epochs(site):
    for folder in (site.base / 'evac').glob('epoch-*'):
        shutil.rmtree(folder)


@pytest.mark.parametrize('destroy', [spoil_the_files, empty_the_epochs, remove_the_epochs])
def test_a_campaign_whose_data_was_lost_begins_anew_only_by_reprime(site, destroy):
    campaign(site, workers=1)
    all_killed(site)
    counted = site.progress()
    assert counted['succeeded'] > 0
    destroy(site)
    # Not at the first try, and at no later one either.
    for _ in range(2):
        daemon = site.daemon()
        assert daemon.ended(20) == 1, daemon.log()
        assert 'drover reprime evac' in daemon.log(), daemon.log()
        assert not processes_below(site.base)
    status = site.status()
    assert status['progress'] == counted and status['state'] == 'running' and not status['live']
    left = site.names_on(0)
    assert 0 < len(left) < len(site.names)
    site.names = left
    site.drover('reprime', 'evac', '--yes')
    hurry(site)
    site.daemon()
    finish(site)


def test_the_mark_that_a_campaign_was_primed_is_no_part_of_its_data(site):
    daemon, = campaign(site, workers=1)
    daemon.kill()
    (site.base / 'evac' / 'primed').unlink()
    hurry(site)
    site.daemon()
    finish(site)
    assert (site.base / 'evac' / 'primed').exists()


@pytest.mark.parametrize('whose', ['of the same name', 'of another name'])
def test_the_data_of_another_campaign_is_refused(site, whose):
    """Of one that was deleted, and of one that is there."""
    name = 'evac' if whose == 'of the same name' else 'other'
    site.make(4)
    site.lab('fill', '--files', 60, '--size', '1-8K')
    site.start(name, osts='1')
    site.daemon(name)
    assert site.wait(name) == 0
    site.ended()
    foreign = site.dir / 'foreign'
    shutil.copytree(site.base / name / 'epoch-1', foreign)
    site.drover('delete', name, '--yes')
    site.set('2-3', 'slow', latency_ms=60)
    site.start(osts='0')
    daemon = site.daemon()
    until('files move', lambda: site.progress()['succeeded'] > 0)
    daemon.kill()
    shutil.copytree(foreign, site.base / 'evac' / 'epoch-2')
    for _ in range(2):
        daemon = site.daemon()
        assert daemon.ended(20) == 1, daemon.log()
        assert ('FOREIGN' if name == 'evac' else 'EMPTY') in daemon.log(), daemon.log()
    assert site.state() == 'running' and not processes_below(site.base)
    site.drover('reprime', 'evac', '--yes')
    site.set('2-3', 'up')
    site.daemon()
    assert site.assert_moved(osts=(0,))['osts'] == '0'


def test_a_server_that_is_too_old_for_the_data(site):
    """Its host says so and cannot lead; one with a newer server can, and then the first one follows."""
    daemon, = campaign(site, workers=1)
    daemon.kill()
    version = site.base / 'evac' / 'epoch-1' / 'server'
    assert re.fullmatch(r'(redis|valkey) \d+\.\d+\.\d+\n?', version.read_text())
    version.write_text('redis 99.0.0')
    old = site.daemon()
    until('it says why', lambda: 'server-too-old' in old.log())
    assert 'data="redis 99.0.0"' in old.log() and 'ours="' in old.log()
    assert old.alive() and not site.status()['live'] and not site.servers()
    new = site.dir / 'bin' / 'redis-server'
    new.parent.mkdir()
    new.write_text('#!/bin/sh\n'
                   'case "$1" in --version) echo "Redis server v=99.1.0 sha=0:0 malloc=libc bits=64 build=0" ;;\n'
                   f'*) exec {REAL_SERVER} "$@" ;; esac\n')
    new.chmod(0o755)
    young = site.daemon(env={**os.environ, 'PATH': f'{new.parent}:{os.environ["PATH"]}'})
    site.running(workers=2)
    assert site.leader() is young
    epoch, = site.servers().values()
    assert (site.base / 'evac' / f'epoch-{epoch}' / 'server').read_text().strip() == 'redis 99.1.0'
    assert sorted(p.name for p in (site.base / 'evac').glob('epoch-*')) == ['epoch-1', f'epoch-{epoch}']
    hurry(site)
    finish(site)


# --- claims ---------------------------------------------------------------------------------------------------------

def test_a_worker_that_comes_back_late_is_refused(site):
    """Stopped in the middle of a file for longer than its claim lasts; it is continued while another holds its chunk."""
    campaign(site, files=60, latency=60, scan_batch_size=6, migration_workers=1, claim_timeout=2)
    sampler = site.sampler()
    late = follower(site)
    old, = until('it moves', lambda: [c for c in claims_of(site, late) if '/move-' in c[1]])

    def taken_over():
        return [c for c in claims(site) if c[0] == old[0] and c[1] != 'free' and f':{late.pid}:' not in c[1]]
    with stopped(late.pid):
        began = time.monotonic()
        until('its claim is void', lambda: old not in claims(site), 6)
        assert time.monotonic() - began < 4
        new, = until('another has it', taken_over, 15, every=0.002)

    def done():
        now = [c for c in claims(site) if c[0] == old[0]]
        assert all(c == new or c[1] == 'free' or c[2] > new[2] for c in now), f'it won the claim back: {now}'
        return not now
    until('the others settle it', done, 15)
    until('it has other work', lambda: [c for c in claims_of(site, late) if '/move-' in c[1]], 15)
    hurry(site)
    assert site.wait() == 0
    sampler.stop()
    # Files that it moved without a word count as moved, or as found moved; none is moved twice.
    finish(site, again=2)
    paths = moves(site)
    assert len(paths) == len(set(paths)) == len(site.names), site.audit('evac', 'succeeded')


def test_a_leader_that_is_stopped_without_its_server_loses_its_claims_and_not_its_lead(site):
    """The server has the queue, and it runs; the watchdog does not take the pause for the folder's."""
    campaign(site, folder_timeout=2, claim_timeout=2)
    leader, server = site.leader(), server_of(site)
    with stopped(leader.pid):
        held = {c[0] for c in claims_of(site, leader)}
        assert held
        until('its claims went to others', lambda: not claims_of(site, leader), 6)
        done = site.progress()['succeeded']
        until('the others go on', lambda: site.progress()['succeeded'] > done + 3)
        assert server in site.servers()
    until('it works again', lambda: claims_of(site, leader))
    time.sleep(1)
    assert site.servers() == {server: 1} and site.leader() is leader
    hurry(site)
    finish(site, again=4)


def test_a_daemon_that_is_started_late_has_work_within_a_second(site):
    campaign(site, files=300, workers=1)
    began = time.monotonic()
    late = site.daemon()
    until('it has a claim', lambda: any('/move-' in c[1] for c in claims_of(site, late)), 10)
    took = time.monotonic() - began
    assert took < 1, f'it had nothing for {took:.2f} s'
    until('it says what it moves', lambda: current_of(site, late), 3)
    hurry(site)
    finish(site)


def test_a_worker_is_listed_with_its_name_or_not_at_all(site):
    campaign(site, workers=1)
    redis = site.redis()
    for n in range(2, 5):
        site.daemon()
        records = []
        while len(records) < n or not all(records):
            records = [json.loads(r) for r in redis('HVALS', 'drover:evac:workers')]
            assert all('host' in r and 'pid' in r for r in records), records
    redis.close()
    hurry(site)
    finish(site)


def test_a_daemon_that_is_started_late_gets_a_share_of_the_last_chunk(site):
    """All that is left is in one worker's hands, which hands the rest back."""
    site.configure(migration_workers=1)
    campaign(site, files=60, latency=100, workers=1, scan_batch_size=1000)
    assert site.progress()['pending'] == 0
    began = time.monotonic()
    late = site.daemon()
    until('it has a claim', lambda: any('/move-' in c[1] for c in claims_of(site, late)), 10)
    took = time.monotonic() - began
    assert took < 2.5, f'it had nothing for {took:.2f} s'
    hurry(site)
    finish(site)


@pytest.mark.parametrize('role', ['follower', 'leader'])
def test_a_daemon_that_stops_leaves_no_claims(site, role):
    campaign(site, migration_workers=4, scan_workers=4)
    daemon = until('a leader', site.leader) if role == 'leader' else follower(site)
    until('it has claims', lambda: len(claims_of(site, daemon)) >= 3)
    began = time.monotonic()
    daemon.terminate()
    assert daemon.ended(10) == 0
    took = time.monotonic() - began
    assert took < 1.5, f'it took {took:.2f} s to end'
    if role == 'leader':
        next_leader(site, 2)
    assert claims_of(site, daemon) == []
    assert daemon.pid not in [w.get('pid') for w in site.status()['workers']]
    hurry(site)
    finish(site)
    # Nothing died, so nothing was done twice.
    paths = moves(site)
    assert len(paths) == len(set(paths)) == len(site.names)


def test_the_file_in_hand_is_settled_in_the_next_epoch(site):
    """
    Leader and follower each move a file for some seconds, while their server is killed. For the clock of the next one their
    claims are ten minutes old.
    """
    big_files(site, 2, 4 * MIB, '3M')
    daemons = [site.daemon(), site.daemon()]
    site.running(workers=2)
    held = until('both move', lambda: all(claims_of(site, d) for d in daemons) and
                 sorted(c for c in claims(site) if '/move-' in c[1]))
    assert len(held) == 2
    redis = site.redis()
    with stopped(*[d.pid for d in daemons]):
        for entry, holder, _ in held:
            assert redis('XCLAIM', 'drover:evac:move', 'w', holder, 0, entry, 'IDLE', 600000, 'JUSTID') == [entry.encode()]
        os.kill(server_of(site), signal.SIGKILL)
    redis.close()
    next_leader(site, 2)
    assert site.progress()['in_progress'] == 2, 'they were done before: this proves nothing'
    assert sorted(claims(site)) == held, 'the claims still stand, and nobody took them over'
    hurry(site)
    finish(site)
    assert sorted(moves(site)) == ['big0', 'big1']


# --- pause ----------------------------------------------------------------------------------------------------------

def test_pause_waits_until_all_is_quiet_and_says_so(site):
    big_files(site, 6, MIB, '2M')
    daemons = [site.daemon(), site.daemon()]
    site.running(workers=2)
    until('both move', lambda: all(claims_of(site, d) for d in daemons))
    began = time.monotonic()
    assert 'files at hand are finished' in site.drover('pause', 'evac', '--no-wait').out
    assert time.monotonic() - began < 0.5
    status = site.status()
    before = status['progress']
    assert before['in_progress'] > 0 and status['state'] == 'paused'
    result = site.drover('pause', 'evac')
    assert 'all is quiet' in result.out
    after = site.progress()
    assert after['in_progress'] == 0 and after['pending'] == before['pending'] > 0, (before, after)
    assert after['succeeded'] == before['succeeded'] + before['in_progress']
    assert not claims(site)
    hurry(site)
    site.drover('resume', 'evac')
    finish(site)


# --- clocks ---------------------------------------------------------------------------------------------------------

def test_the_clock_of_the_next_leaders_host_is_behind(site):
    """Retries that the old leader's server wrote down for times of its own clock come when they should."""
    site.configure(retry_delays='1,1,1,1,1,1')
    site.make(4)
    site.only_on([0], 4, lambda: site.lab('fill', '--files', 10, '--size', '1-8K'))
    site.names, site.before = site.names_on(0), site.digest()
    fd = os.open(site.ns / os.fsdecode(sorted(site.names)[0]), os.O_WRONLY)
    site.start(osts='0')
    daemon = site.daemon()
    until('only this one is left', lambda: (p := site.progress())['skipped'] == 1 and p['succeeded'] == 9)
    redis, server = site.redis(), server_of(site)
    os.kill(daemon.pid, signal.SIGSTOP)
    ms = 10 * 60000
    due = redis('ZRANGE', 'drover:evac:left:busy', 0, -1, 'WITHSCORES')
    assert len(due) == 2
    redis('ZADD', 'drover:evac:left:busy', int(float(due[1])) + ms, due[0])
    clock = int(redis('HGET', 'drover:evac:meta', 'clock'))
    redis('HSET', 'drover:evac:meta', 'clock', clock + ms)
    redis.close()
    os.close(fd)
    daemon.kill()
    until('its server is gone', lambda: server not in site.servers(), 5)
    site.daemon()
    status = next_leader(site, 2)
    assert status['retries']['next_seconds'] is None or status['retries']['next_seconds'] <= 3, status['retries']
    began = time.monotonic()
    finish(site)
    assert time.monotonic() - began < 15
