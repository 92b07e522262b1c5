# SPDX-License-Identifier: LGPL-2.1-or-later
"""A site's own server: how it is reached and refused, hosts without a shared folder, leadership that expires, Sentinel."""
import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import threading
import time

import pytest

from harness import PATIENCE, Redis, Site, check_status, free_port, processes_below, run, stopped, until
from test_leadership import campaign, finish, hurry

SERVER = shutil.which('redis-server') or shutil.which('valkey-server')
EPOCH = re.compile(r'(\d+)-[0-9a-f]{16}')


class Client(Redis):
    """Of any server: by port or by socket, as any user."""

    def __init__(self, where, password=None, user=None, db=0):
        if isinstance(where, int):
            self.socket = socket.create_connection(('127.0.0.1', where), 5)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(5)
            self.socket.connect(os.fspath(where))
        self.file = self.socket.makefile('rb')
        if password:
            assert self('AUTH', *([user] if user else []), password) == b'OK'
        if db:
            assert self('SELECT', db) == b'OK'


class Engine:
    """A redis-server as a site would run it: it keeps what it was told, unless it is told otherwise."""

    def __init__(self, folder, *lines, password=None, port=None, sentinel=False):
        self.folder, self.password, self.sentinel = folder, password, sentinel
        self.port = port or free_port()
        self.unix = folder / 'redis.sock'
        self.conf = folder / 'redis.conf'
        self.process = None
        base = [f'port {self.port}', 'bind 127.0.0.1', f'dir {folder}', 'protected-mode no']
        if not sentinel:
            base += [f'unixsocket {self.unix}', 'save ""', 'appendonly yes', 'appendfsync always']
        if password:
            base += [f'requirepass {password}', f'masterauth {password}']
        self.conf.write_text('\n'.join([*base, *lines]) + '\n')
        self.start()

    def start(self):
        with open(self.folder / 'redis.log', 'ab') as log:
            words = [SERVER, self.conf, *(['--sentinel'] if self.sentinel else [])]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until('the server answers', self.answers, 10, every=0.005)

    def answers(self):
        assert self.process.poll() is None, (self.folder / 'redis.log').read_text()[-2000:]
        try:
            with contextlib.closing(self.client()) as client:
                return client('PING') == b'PONG'
        except (OSError, AssertionError):
            return False

    def client(self, **more):
        return Client(self.port, self.password, **more)

    def ask(self, *words, **more):
        with contextlib.closing(self.client(**more)) as client:
            return client(*words)

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    @property
    def url(self):
        return f'redis://:{self.password}@127.0.0.1:{self.port}' if self.password else f'redis://127.0.0.1:{self.port}'


@pytest.fixture
def engine(tmp_path_factory):
    """Starts servers, in folders of their own: those of a place end with its daemons. They end with the test."""
    made = []

    def make(*lines, **more):
        made.append(Engine(tmp_path_factory.mktemp('engine'), *lines, **more))
        return made[-1]
    yield make
    for server in made:
        server.kill()


def use(site, url, **options):
    site.configure(redis_url=url, **options)
    site.conf.chmod(0o600)


def other_host(site, name='other'):
    """Another host as the campaign sees it: the same file system, and a folder of its own."""
    host = Site(site.dir)
    site.configure()  # the new one began with the same file
    host.base, host.conf = site.dir / f'base-{name}', site.dir / f'{name}.conf'
    host.configure(**{**site.options, 'base_path': host.base})
    host.conf.chmod(0o600)
    return host


def meta(server, field, name='evac'):
    value = server.ask('HGET', f'drover:{name}:meta', field)
    return value and value.decode()


def epoch_of(server):
    """The number; that it has the right form is proven on the way."""
    return int(EPOCH.fullmatch(meta(server, 'epoch'))[1])


def leader_of(server, *sites):
    """The daemon that leads, by the server's word."""
    name = server.ask('GET', 'drover:evac:leader')
    pid = name and int(name.split(b':')[2])
    return next((d for site in sites for d in site.daemons if d.pid == pid), None)


def claims_of(server, daemon):
    found = []
    for kind in ('scan', 'move'):
        found += [e for e in server.ask('XPENDING', f'drover:evac:{kind}', 'w', '-', '+', 1000)
                  if b':%d:' % daemon.pid in e[1]]
    return found


def refused(site, *words, told, program='drover'):
    result = run(program, '--config', site.conf, *words, check=2, timeout=10)
    assert result.out == '' and result.err.count('\n') == 1 and re.search(told, result.err), result
    return result


def small_lab(site):
    site.make(4)
    site.lab('fill', '--files', 20, '--size', '1-8K')


def start_refused(site, told):
    """Nothing is made, here or there."""
    result = refused(site, 'start', '--name', 'evac', '--osts', '0', '--scan-path', site.ns, told=told)
    assert not (site.base / 'evac').exists() and not processes_below(site.dir)
    return result


# --- how it is reached ----------------------------------------------------------------------------------------------

ACL = 'user drover on >{} ~drover:* +@all -@admin -@dangerous +info +role'


def assert_untold(site, *passwords):
    """Not in the process lists, in no log, no file of the campaign, and in nothing that commands print."""
    shown = [site.drover(*words).raw for words in
             (['status', 'evac'], ['status', 'evac', '--json'], ['list', '--json'], ['report', 'evac', '--json'])]
    for pid in os.listdir('/proc'):
        for file in ('cmdline', 'environ'):
            with contextlib.suppress(OSError), open(f'/proc/{pid}/{file}', 'rb') as f:
                shown.append(f.read())
    shown += [d.log().encode() for d in site.daemons]
    shown += [p.read_bytes() for p in site.base.rglob('*') if p.is_file()]
    assert len(shown) > 20
    for password in passwords:
        assert not [text for text in shown if password.encode() in text]


@pytest.mark.parametrize('form', ['password', 'user in the url', 'user and file', 'socket'])
def test_ways_to_the_server(site, engine, form):
    password = secrets.token_hex(12)
    db = 0
    if form == 'password':
        server = engine(password=password)
        use(site, f'redis://:{password}@127.0.0.1:{server.port}')
    elif form == 'user in the url':
        server = engine(ACL.format(password))
        use(site, f'redis://drover:{password}@localhost:{server.port}/0')
    elif form == 'user and file':
        db = 3
        server = engine(ACL.format(password))
        file = site.dir / 'password'
        file.touch(0o600)
        file.write_text(f'{password}\n')
        use(site, f'redis://drover@127.0.0.1:{server.port}/{db}', redis_password_file=file)
        site.conf.chmod(0o644)  # it holds no password
    else:
        db = 2
        server = engine(password=password)
        use(site, f'unix://:{password}@{server.unix}?db={db}')
    site.configure(log_level='debug')
    campaign(site, files=60)
    assert_untold(site, password)
    keys = server.ask('KEYS', '*', db=db)
    assert b'drover:evac:meta' in keys and b'drover:campaigns' in keys
    assert all(k.startswith(b'drover:') for k in keys), keys
    if db:
        assert server.ask('DBSIZE') == 0
    hurry(site)
    assert site.wait() == 0
    assert all(d.ended(10) == 0 for d in site.daemons)
    finish(site)
    assert_untold(site, password)
    # No server of our own, and none of its folders.
    assert not [p for p in (site.base / 'evac').iterdir() if p.name.startswith(('epoch', 'secret', 'leader.info'))]


@pytest.mark.parametrize('command', [
    ['start', '--name', 'new', '--osts', '0', '--scan-path', 'NS'], ['status', 'evac'], ['pause', 'evac'],
    ['retry-failed', 'evac'], ['reprime', 'evac', '--yes'], ['report', 'evac'], ['droverd']], ids=lambda c: c[0])
def test_a_password_that_is_not_the_servers(site, engine, command):
    """One line that says so, and not that nobody answers."""
    password, wrong = secrets.token_hex(12), secrets.token_hex(12)
    server = engine(password=password)
    small_lab(site)
    use(site, server.url)
    site.start(osts='0')
    use(site, f'redis://:{wrong}@127.0.0.1:{server.port}')
    if command == ['droverd']:
        result = refused(site, '--campaign', 'evac', told='refuse', program='droverd')
    else:
        result = refused(site, *[site.ns if w == 'NS' else w for w in command], told='refuse')
    assert password not in result.err and wrong not in result.err
    assert not (site.base / 'new').exists() and not processes_below(site.dir)
    use(site, server.url)
    assert site.state() == 'created'


@pytest.mark.parametrize('what', ['conf', 'file'])
def test_a_password_that_others_can_read(site, engine, what):
    password = secrets.token_hex(12)
    server = engine(password=password)
    small_lab(site)
    file = site.dir / 'password'
    file.touch(0o600)
    file.write_text(password)
    url = server.url if what == 'conf' else f'redis://127.0.0.1:{server.port}'
    use(site, url, redis_password_file=file if what == 'file' else None)
    site.start(osts='0')
    for mode in (0o640, 0o604, 0o620):
        (site.conf if what == 'conf' else file).chmod(mode)
        told = f'{re.escape(os.fspath(site.conf if what == "conf" else file))}.*chmod 600'
        for words in (['status', 'evac'], ['pause', 'evac']):
            assert password not in refused(site, *words, told=told).err
        assert password not in refused(site, '--campaign', 'evac', told=told, program='droverd').err
    (site.conf if what == 'conf' else file).chmod(0o400)
    assert site.state() == 'created'


def test_a_server_that_may_drop_keys(site, engine):
    server = engine('maxmemory 100mb', 'maxmemory-policy allkeys-lru')
    small_lab(site)
    use(site, server.url)
    start_refused(site, told='allkeys-lru.*noeviction')
    assert server.ask('DBSIZE') == 0
    server.ask('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    site.start(osts='0')
    server.ask('CONFIG', 'SET', 'maxmemory-policy', 'volatile-ttl')
    daemon = site.daemon()
    assert daemon.ended(10) in (1, 2)
    assert 'volatile-ttl' in daemon.log() and 'noeviction' in daemon.log(), daemon.log()
    assert site.state() == 'created'
    server.ask('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    site.daemon()
    assert site.wait() == 0


def test_a_server_that_is_away_at_the_start(site, engine):
    server = engine()
    small_lab(site)
    use(site, server.url)
    server.kill()
    start_refused(site, told=f'127.0.0.1:{server.port}.* does not answer')
    server.start()
    site.start(osts='0')
    server.kill()
    refused(site, 'pause', 'evac', told='cannot be reached')
    # A daemon waits for it, and says so.
    daemon = site.daemon()
    until('it says that nobody answers', lambda: str(server.port) in daemon.log(), 5)
    time.sleep(0.5)
    assert daemon.alive()
    server.start()
    assert site.wait() == 0
    assert daemon.ended(10) == 0


def test_a_url_that_is_none(site):
    small_lab(site)
    for url in ('redis://:hunter2@', 'http://host', 'sentinel://host', 'redis://h:0', 'unix://relative',
                'redis://:hunter2@h/x'):
        use(site, url)
        assert 'hunter2' not in start_refused(site, told='redis_url').err


# --- a server that comes and goes -----------------------------------------------------------------------------------

def test_a_server_that_is_killed_and_started_again(site, engine):
    server = engine()
    use(site, server.url)
    daemons = campaign(site)
    until('status.json is there', (site.base / 'evac' / 'status.json').exists, 5)
    before, epoch = meta(server, 'epoch'), epoch_of(server)
    sampler = site.sampler()
    server.kill()
    time.sleep(1)
    status = site.status()
    assert status['live'] is False and status['state'] == 'running' and all(d.alive() for d in daemons)
    server.start()
    until('a new epoch', lambda: epoch_of(server) > epoch, 10)
    now = meta(server, 'epoch')
    assert epoch_of(server) == epoch + 1 and now.partition('-')[2] != before.partition('-')[2]
    done = site.progress()['succeeded']
    until('it goes on', lambda: site.progress()['succeeded'] > done)
    hurry(site)
    assert site.wait() == 0
    assert sampler.stop().live > 20
    assert all(d.ended(10) == 0 for d in daemons)
    finish(site)


def test_a_server_that_lost_all(site, engine):
    """Nobody begins a campaign anew but a person."""
    server = engine('appendonly no')
    use(site, server.url)
    daemon, = campaign(site, workers=1)
    server.kill()
    server.start()
    for d in (daemon, site.daemon()):
        until('it says what can be done', lambda: 'drover reprime evac' in d.log(), 5)
        assert d.ended(5) == 1
    assert server.ask('KEYS', 'drover:*') == []
    site.drover('reprime', 'evac', '--yes')
    site.names = site.names_on(0)
    hurry(site)
    site.daemon()
    finish(site)


# --- hosts without a shared folder ----------------------------------------------------------------------------------

def test_hosts_without_a_shared_folder(site, engine):
    server = engine(password=secrets.token_hex(12))
    use(site, server.url)
    here, there = site, other_host(site)
    campaign(here, workers=1)
    assert not there.base.exists()
    assert [c['campaign'] for c in json.loads(there.drover('list', '--json').raw)] == ['evac']
    late = there.daemon()
    until('both hosts work', lambda: claims_of(server, late))
    assert (there.base / 'evac' / 'campaign.json').read_bytes() == (here.base / 'evac' / 'campaign.json').read_bytes()
    status = there.running(workers=2)
    assert {w.get('pid') for w in status['workers']} == {d.pid for d in here.daemons + there.daemons}
    # Commands from either host are the campaign's.
    assert 'exists already' in there.start(osts='0', check=2).err
    assert 'all is quiet' in there.drover('pause', 'evac').out
    assert here.state() == there.state() == 'paused' and here.progress() == there.progress()
    assert there.wait(timeout=1) == 124
    assert 'its leadership passes on by itself' in here.drover('takeover', 'evac', '--host-is-dead', '--yes', check=2).err
    assert here.drover('delete', 'evac', '--yes', '--force', check=2).err.count('\n') == 1
    here.drover('resume', 'evac')
    assert there.state() == 'running'
    hurry(here)
    assert there.wait() == 0 and here.wait() == 0
    assert all(d.ended(10) == 0 for d in here.daemons + there.daemons)
    for host in (here, there):
        assert host.audit_paths(), 'each host logs what it moved'
        report = host.report()
        assert report['leftovers'] == [] and report['osts'][0]['ready_to_remove'] is True
        listed = json.loads(host.drover('list', '--json').raw)
        assert [(c['campaign'], c['state']) for c in listed] == [('evac', 'completed')]
    assert sorted(here.audit_paths() + there.audit_paths()) == sorted(os.fsdecode(n) for n in here.names)
    finish(here)
    # From a third host that never took part; the folders of others are theirs to remove.
    third = other_host(site, 'third')
    assert third.start(osts='0', check=2).err.count('\n') == 1 and not (third.base / 'evac').exists()
    there.drover('delete', 'evac', '--yes')
    assert server.ask('KEYS', '*') == []
    assert 'no campaign' in there.drover('status', 'evac', check=2).err
    refused(here, 'status', 'evac', told="'evac'")
    assert not (there.base / 'evac').exists()
    here.drover('delete', 'evac', '--yes', '--force')
    assert not (here.base / 'evac').exists()
    # The name is free again.
    there.start(osts='1')
    assert here.status()['osts'] == '1'


def test_retries_and_reprime_from_another_host(site, engine):
    server = engine()
    use(site, server.url, retry_delays='')
    site.make(4)
    site.lab('fill', '--files', 60, '--size', '1-8K')
    site.names, site.before = site.names_on(0), site.digest()
    here, there = site, other_host(site)
    busy = site.ns / os.fsdecode(sorted(site.names)[0])
    here.start(osts='0')
    with open(busy, 'r+b'):
        here.daemon()
        assert there.wait() == 3
        assert all(d.ended(10) == 0 for d in here.daemons)
    assert [(r['class'], r['path']) for r in there.report()['leftovers']] == [('busy', os.fspath(busy))]
    # Over, without a daemon: the server takes it all the same, and the next daemon does it.
    assert there.drover('retry-failed', 'evac').code == 0 and there.state() == 'completed_with_leftovers'
    assert '1 files' in there.drover('retry-skipped', 'evac').out
    assert here.state() == 'running'
    there.daemon()
    assert here.wait() == 0
    progress = here.progress()
    assert progress['succeeded'] == progress['discovered'] == len(site.names)
    assert all(d.ended(10) == 0 for d in there.daemons)
    assert 'begins anew' in there.drover('reprime', 'evac', '--yes').out
    assert here.progress()['discovered'] == 0 and here.state() == 'running'
    here.daemon()
    assert there.wait() == 0
    assert site.digest() == site.before


# --- leadership that expires ----------------------------------------------------------------------------------------

def test_a_leader_that_stops_gives_its_leadership_up(site, engine):
    server = engine()
    use(site, server.url)
    campaign(site)
    epoch, leader = epoch_of(server), leader_of(server, site)
    leader.terminate()
    assert leader.ended(5) == 0
    began = time.monotonic()
    until('another leads', lambda: leader_of(server, site) not in (None, leader), 10)
    assert time.monotonic() - began < 1.5
    assert epoch_of(server) == epoch + 1
    hurry(site)
    finish(site)


def test_a_leader_that_is_killed_loses_its_leadership_by_time(site, engine):
    server = engine()
    use(site, server.url)
    campaign(site, files=600)
    sampler = site.sampler()
    epoch, leader = epoch_of(server), leader_of(server, site)
    began = time.monotonic()
    leader.kill()
    done = site.progress()['succeeded']
    until('the others go on without a leader', lambda: site.progress()['succeeded'] > done + 4)
    until('another leads', lambda: leader_of(server, site) not in (None, leader), 10)
    assert time.monotonic() - began < 6.5
    assert epoch_of(server) == epoch + 1
    hurry(site)
    assert site.wait() == 0
    sampler.stop()
    finish(site)


def test_a_leader_that_comes_back_late_follows(site, engine):
    """Its claims did not go stale meanwhile, so they still stand."""
    server = engine()
    use(site, server.url, claim_timeout=60)
    campaign(site, files=600, claim_timeout=60)
    sampler = site.sampler()
    epoch, leader = epoch_of(server), leader_of(server, site)
    with stopped(leader.pid):
        held = claims_of(server, leader)
        assert held
        until('another leads', lambda: leader_of(server, site) not in (None, leader), 10)
        assert {e[0] for e in held} == {e[0] for e in claims_of(server, leader)}
    now = leader_of(server, site)
    until('it follows', lambda: leader.log().rpartition('\n')[0].count(' follows ') == 1, 5)
    until('it works on', lambda: not {e[0] for e in held} & {e[0] for e in claims_of(server, leader)}, 15)
    assert leader_of(server, site) is now and epoch_of(server) == epoch + 1
    hurry(site)
    assert site.wait() == 0
    sampler.stop()
    finish(site)


# --- Sentinel -------------------------------------------------------------------------------------------------------

class Identity(threading.Thread):
    """Reads the status all the time. A fail-over may lose what was acknowledged last: counts may fall, and always add up."""

    def __init__(self, *sites):
        super().__init__(daemon=True)
        self.sites, self.samples, self.live, self.error = sites, 0, 0, None
        self.end = threading.Event()
        self.start()

    def run(self):
        try:
            while not self.end.is_set():
                for site in self.sites:
                    self.live += check_status(site.drover('status', 'evac', '--json').raw)['live']
                    self.samples += 1
        except BaseException as e:  # told by stop(), in the test's own thread
            self.error = e

    def stop(self):
        self.end.set()
        self.join(PATIENCE)
        if self.error:
            raise self.error
        return self


def test_a_fail_over_in_mid_campaign(site, engine):
    """Master, replica and three sentinels; the master dies."""
    password = secrets.token_hex(12)
    master = engine(password=password)
    replica = engine(f'replicaof 127.0.0.1 {master.port}', 'repl-diskless-sync-delay 0', password=password)
    until('the replica is in sync', lambda: b'master_link_status:up' in replica.ask('INFO', 'replication'), 15)
    sentinels = [engine(f'sentinel monitor drover 127.0.0.1 {master.port} 2', f'sentinel auth-pass drover {password}',
                        'sentinel down-after-milliseconds drover 1000', 'sentinel failover-timeout drover 3000',
                        sentinel=True) for _ in range(3)]
    hosts = ','.join(f'127.0.0.1:{s.port}' for s in sentinels)
    use(site, f'sentinel://:{password}@{hosts}/drover', scan_batch_size=20)

    def know_all():
        for s in sentinels:
            info = dict(zip(*[iter(s.ask('SENTINEL', 'MASTER', 'drover'))] * 2))
            if info[b'num-slaves'] != b'1' or info[b'num-other-sentinels'] != b'2':
                return False
        return True
    daemons = campaign(site, files=3000, latency=4)
    until('the sentinels know each other', know_all, 20)
    until('status.json is there', (site.base / 'evac' / 'status.json').exists, 5)
    identity = Identity(site)
    epoch = epoch_of(master)
    until('it is in the middle', lambda: site.progress()['succeeded'] > 300)
    done = site.progress()
    assert done['pending'] > 500, done
    master.kill()

    def promoted():
        # Its connections are closed when it is.
        with contextlib.suppress(OSError, AssertionError):
            return replica.ask('ROLE')[:1] == [b'master']
    until('the replica is the master', promoted, 20)
    until('a new epoch', lambda: epoch_of(replica) > epoch, 10)
    assert all(d.alive() for d in daemons)
    hurry(site)
    code = site.wait()
    assert identity.stop().live > 20
    assert code == 0, site.status()
    assert all(d.ended(10) == 0 for d in daemons)
    report = site.report()
    assert report['leftovers'] == [] and report['osts'][0]['ready_to_remove'] is True, report
    site.assert_empty(0)
    site.check()
    assert site.digest() == site.before
    progress = site.progress()
    # What was found last and lost with the master is found again: no file counts twice, though its class may be another.
    assert progress['discovered'] == progress['succeeded'] + progress['unneeded'] + progress['gone'], progress
    assert progress['discovered'] <= len(site.names), progress
    paths = [line.partition(' path="')[2][:-1] for line in site.audit('evac', 'succeeded') if ' to=""' not in line]
    assert sorted(paths) == sorted(os.fsdecode(n) for n in site.names), 'each file was moved once'
    assert_untold(site, password)
