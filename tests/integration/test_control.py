# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands and daemons: pause, scale, stop, status, report, wait, run, the server, the metrics."""
import concurrent.futures
import json
import os
import re
import signal
import socket
import stat
import subprocess
import time
import urllib.request

import pytest

from harness import BUILD, check_status, processes_below, until


def slow_campaign(site, files=600, latency=100, workers=1, **options):
    """A campaign that lasts until speed_up()."""
    site.configure(scan_batch_size=10, **options)
    site.make(4)
    site.lab('fill', '--files', files, '--size', '1-8K')
    site.names = site.names_on(0)
    site.before = site.digest()
    site.set('1-3', 'slow', latency_ms=latency)
    site.start(osts='0')
    daemons = [site.daemon() for _ in range(workers)]
    site.running(workers=workers)
    until('files move', lambda: site.progress()['succeeded'] > 0)
    return daemons


def speed_up(site):
    site.set('1-3', 'up')


def assert_all_moved(site):
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['discovered'] == progress['succeeded'] == len(site.names), progress
    assert site.digest() == site.before


# --- status ---------------------------------------------------------------------------------------------------------

def test_status_of_a_campaign_that_no_daemon_has_seen(site):
    site.make(3)
    site.start(osts='0')
    status = site.status()
    assert (status['state'], status['leader'], status['epoch'], status['workers']) == ('created', '', 0, [])
    assert status['kind'] == 'evacuate' and status['osts'] == '0' and status['dry_run'] is False
    assert site.wait(timeout=1) == 124
    assert site.report()['osts'][0]['ready_to_remove'] is False


def test_status_names_leader_workers_files_and_rates(site):
    slow_campaign(site, workers=2)
    status = until('rates', lambda: (s := site.status())['rates']['files_per_sec'] > 0 and s['eta_seconds'] and s)
    host = os.uname().nodename.partition('.')[0]
    assert status['leader'] == re.sub(r'[^\w-]', '_', host)
    assert status['epoch'] == 1 and status['state'] == 'running'
    assert status['rates']['scanned_per_sec'] >= 0 and status['rates']['bytes_per_sec'] > 0
    for _ in range(50):
        status = site.status()
        assert len(status['workers']) == 2
        for worker in status['workers']:
            assert worker['host'] == status['leader'] and worker['pid'] in [d.pid for d in site.daemons], worker
    current = until('files in progress', lambda: [c for w in site.status()['workers'] for c in w['current']])
    assert all(c['worker'] and c['path'] for c in current)
    text = site.drover('status', 'evac').out.lower()
    for word in ('running', status['leader'].lower(), '%'):
        assert word in text
    speed_up(site)
    assert_all_moved(site)


def test_every_sample_satisfies_the_identity_while_daemons_come_and_go(site):
    """As fast as it can be read, with daemons that join, stop, are killed and come again."""
    slow_campaign(site, files=900, workers=1)
    sampler = site.sampler()
    for i in range(4):
        site.daemon()
        site.running(workers=2)
        victim = site.leader() if i % 2 else next(d for d in site.daemons if d.alive() and d is not site.leader())
        victim.kill() if i < 3 else victim.terminate()
        before = site.progress()['succeeded']
        until('it goes on', lambda: site.progress()['succeeded'] > before, 30)
    speed_up(site)
    code = site.wait()
    sampler.stop()
    assert code == 0
    assert sampler.live > 20 and 'running' in sampler.states
    print(f'{sampler.samples} samples, {sampler.live} of them live')
    assert_all_moved(site)


def test_answers_come_from_the_folder_when_all_daemons_are_gone(site):
    site.make(4)
    site.lab('fill', '--files', 100, '--size', '1-8K')
    site.start(osts='0')
    site.daemon()
    site.daemon()
    assert site.wait() == 0
    site.ended()
    status = site.status()
    assert status['state'] == 'completed' and status['workers'] == [] and status['live'] is False
    assert 'completed' in site.drover('status', 'evac').out.lower()
    report = site.report()
    ost, = report['osts']
    assert ost['files_moved'] == 25 and ost['bytes_moved'] == status['progress']['bytes_succeeded']
    assert ost['ready_to_remove'] is True and report['leftovers'] == []
    assert site.wait(timeout=1) == 0
    assert site.drover('status', 'evac', '--watch', timeout=5).code == 0
    # A daemon of a campaign that is over has nothing to do, and says so.
    late = site.daemon()
    assert late.ended(5) == 0 and 'over' in late.log()
    # What is over is not paused, resumed or started again.
    for command in ('pause', 'resume'):
        refused = site.drover(command, 'evac', check=2)
        assert refused.err.count('\n') == 1


def test_wait_times_out_with_124(site):
    slow_campaign(site)
    began = time.monotonic()
    assert site.wait(timeout=1) == 124
    assert 0.9 < time.monotonic() - began < 4
    speed_up(site)
    assert_all_moved(site)


def test_a_waiter_from_before_the_start_hears_the_end(site):
    site.make(3)
    site.lab('fill', '--files', 50, '--size', '1-8K')
    site.start(osts='0')
    waiter = subprocess.Popen([BUILD / 'drover', '--config', site.conf, 'wait', 'evac'])
    try:
        site.daemon()
        assert waiter.wait(60) == 0
    finally:
        waiter.kill()
        waiter.wait()
    assert site.state() == 'completed'


def test_list_shows_all_campaigns(site):
    assert json.loads(site.drover('list', '--json').raw) == []
    site.make(3)
    site.lab('fill', '--files', 30, '--size', '1-8K')
    for name in ('first', 'second.one', 'x_3'):
        site.start(name, osts='0')
    site.daemon('first')
    assert site.wait('first') == 0
    site.ended()
    raw = site.drover('list', '--json').raw
    assert raw.count(b'\n') == 1
    assert {c['campaign']: c['state'] for c in json.loads(raw)} == \
        {'first': 'completed', 'second.one': 'created', 'x_3': 'created'}
    text = site.drover('list').out
    assert all(name in text for name in ('first', 'second.one', 'x_3'))


# --- pause, scale, stop ---------------------------------------------------------------------------------------------

def test_pause_finishes_the_files_in_hand_and_resume_goes_on(site):
    slow_campaign(site, workers=2)
    site.drover('pause', 'evac')
    status = site.status()
    assert status['state'] == 'paused' and status['progress']['in_progress'] == 0 and status['progress']['pending'] > 0
    assert status['reason']
    assert site.wait(timeout=1) == 124
    later = site.status()
    assert later['progress'] == status['progress'], 'something moved while it was paused'
    assert all(d.alive() for d in site.daemons)
    # A daemon that comes meanwhile waits as well.
    site.daemon()
    site.running(workers=3)
    speed_up(site)
    assert site.wait(timeout=1) == 124 and site.status()['progress'] == status['progress']
    site.drover('resume', 'evac')
    assert_all_moved(site)


def test_pause_and_resume_while_no_daemon_runs(site):
    daemon, = slow_campaign(site)
    daemon.kill()
    site.drover('pause', 'evac')
    site.daemon()
    until('the next daemon pauses', lambda: site.state() == 'paused')
    moved = site.progress()['succeeded']
    assert moved < len(site.names)
    speed_up(site)
    assert site.wait(timeout=1) == 124 and site.progress()['succeeded'] == moved
    for d in site.daemons:
        d.alive() and d.kill()
    site.drover('resume', 'evac')
    site.daemon()
    assert_all_moved(site)


def test_pause_outlives_the_leader(site):
    slow_campaign(site, workers=2)
    site.drover('pause', 'evac')
    moved = site.progress()['succeeded']
    site.leader().kill()
    until('another leader', lambda: (s := site.status())['live'] and s['epoch'] == 2)
    speed_up(site)
    assert site.state() == 'paused' and site.wait(timeout=1) == 124 and site.progress()['succeeded'] == moved
    site.drover('resume', 'evac')
    assert_all_moved(site)


def test_a_daemon_that_comes_late_takes_work(site):
    slow_campaign(site, workers=1)
    late = site.daemon()

    def takes_work():
        return any(w['pid'] == late.pid and w['current'] for w in site.status()['workers'])
    until('the late one moves files', takes_work)
    speed_up(site)
    assert_all_moved(site)


@pytest.mark.parametrize('role', ['follower', 'leader'])
def test_sigterm_gives_claims_back_within_a_second(site, role):
    """Two big files are in hand, which would take a minute; the other daemon takes them over."""
    site.configure(scan_batch_size=1, migration_workers=1, scan_workers=1)
    site.make(3)
    site.tree.mkdir()
    for i in range(2):
        (site.tree / f'big{i}').write_bytes(os.urandom(32 << 20))
    site.only_on([0], 3, lambda: site.lab('import', site.tree))
    before = site.digest()
    site.set('1-2', 'slow', latency_ms=0, bandwidth='2M')
    site.start(osts='0')
    site.daemon()
    site.daemon()
    until('both are in progress', lambda: site.progress()['in_progress'] == 2)
    daemon = site.leader()
    if role == 'follower':
        daemon = next(d for d in site.daemons if d is not daemon)
    other = next(d for d in site.daemons if d is not daemon)
    began = time.monotonic()
    daemon.terminate()
    if role == 'follower':
        until('its claim is back', lambda: site.progress()['in_progress'] == 1, 5)
        assert time.monotonic() - began < 1.5
        assert site.progress()['pending'] == 1
    assert daemon.ended(10) == 0
    took = time.monotonic() - began
    assert took < 2, f'it took {took:.1f} s to end'
    assert other.alive()
    if role == 'leader':
        until('the other one leads', lambda: site.leader() is other, 10)
    site.set('1-2', 'up')
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['discovered'] == progress['succeeded'] == 2
    assert site.digest() == before


def test_sigint_of_the_only_daemon_and_a_new_one_goes_on(site):
    daemon, = slow_campaign(site)
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.ended(10) == 0
    status = site.status()
    assert status['state'] == 'running' and status['workers'] == [] and status['live'] is False
    assert status['progress']['in_progress'] == 0
    assert processes_below(site.dir) == {}
    speed_up(site)
    site.daemon()
    assert_all_moved(site)


# --- run, delete, campaigns of the same name ------------------------------------------------------------------------

def test_run_works_in_the_foreground_to_the_end(site):
    site.make(3)
    site.lab('fill', '--files', 60, '--size', '1-8K')
    site.start(osts='0')
    result = site.drover('run', 'evac', '--scan-workers', 1, '--migration-workers', 1, check=0)
    assert 'completed' in result.out.lower() and result.err == ''
    assert site.state() == 'completed'
    assert '\033' not in result.out
    site.assert_empty(0)


def test_run_exits_3_with_leftovers(site):
    site.make(3)
    site.lab('fill', '--files', 60, '--size', '1-8K')
    path = site.ns / os.fsdecode(sorted(site.names_on(0))[0])
    site.start(osts='0')
    with open(path, 'r+b'):
        result = site.drover('run', 'evac', '--retry-delays', '', check=3)
    assert 'completed with leftovers' in result.out.lower().replace('_', ' ')
    site.drover('retry-skipped', 'evac')
    site.drover('run', 'evac', check=0)
    site.assert_empty(0)


def test_run_is_stopped_by_a_signal_and_goes_on_later(site):
    site.configure(scan_batch_size=10)
    site.make(3)
    site.lab('fill', '--files', 300, '--size', '1-8K')
    site.set('1-2', 'slow', latency_ms=40)
    site.start(osts='0')
    runner = site.daemon(program='drover')
    site.running()
    runner.terminate()
    assert runner.ended(10) == 143
    until('its daemon and its server are gone', lambda: not processes_below(site.dir), 5)
    site.set('1-2', 'up')
    site.drover('run', 'evac', check=0)
    site.assert_empty(0)


def test_run_that_is_killed_leaves_no_daemon(site):
    site.configure(scan_batch_size=10)
    site.make(3)
    site.lab('fill', '--files', 300, '--size', '1-8K')
    site.set('1-2', 'slow', latency_ms=40)
    site.start(osts='0')
    runner = site.daemon(program='drover')
    site.running()
    runner.kill()
    until('its daemon and its server are gone', lambda: not processes_below(site.dir), 10)


def test_delete_is_refused_while_a_daemon_works_and_takes_all_later(site):
    daemon, = slow_campaign(site, files=1600, latency=300)
    # Both wait a while for a daemon that is about to end, so they do it together.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = pool.map(lambda more: site.drover('delete', 'evac', '--yes', *more, check=2), ([], ['--force']))
    assert all(r.err.count('\n') == 1 for r in results)
    assert daemon.alive() and site.state() == 'running'
    daemon.kill()
    until('its server is gone', lambda: not processes_below(site.dir), 5)
    refused = site.drover('delete', 'evac', '--yes', check=2)
    assert refused.err.count('\n') == 1 and site.state() == 'running', 'it is not over: only by force'
    speed_up(site)
    site.daemon()
    assert_all_moved(site)
    site.drover('delete', 'evac', '--yes')
    assert not (site.base / 'evac').exists()
    assert site.drover('status', 'evac', check=2).err.count('\n') == 1
    assert site.digest() == site.before


def test_a_second_campaign_of_the_same_name(site):
    """Refused while the first one's folder is there, and a fresh one after delete."""
    site.make(4)
    site.lab('fill', '--files', 60, '--size', '1-8K')
    site.start(osts='0')
    site.daemon()
    assert site.wait() == 0
    site.ended()
    assert site.start(osts='1', check=2).err.count('\n') == 1
    assert site.status()['osts'] == '0'
    site.drover('delete', 'evac', '--yes')
    site.start(osts='1')
    assert site.progress()['discovered'] == 0
    site.daemon()
    status = site.assert_moved(osts=(1,))
    assert status['epoch'] == 1 and status['progress']['succeeded'] == status['progress']['discovered'] >= 15


# --- the server -----------------------------------------------------------------------------------------------------

def test_the_password_is_in_no_list_of_processes(site):
    slow_campaign(site, workers=2)
    secret = (site.base / 'evac' / 'secret')
    st = secret.stat()
    assert stat.S_IMODE(st.st_mode) == 0o600
    password = secret.read_bytes().split(b'\n')[0]
    assert len(password) >= 16
    for pid in os.listdir('/proc'):
        if pid.isdigit():
            for file in ('cmdline', 'environ'):
                try:
                    with open(f'/proc/{pid}/{file}', 'rb') as f:
                        assert password not in f.read(), (pid, file)
                except OSError:
                    pass
    for path in site.base.rglob('*'):
        if path.is_file() and path != secret and 'appendonlydir' not in path.parts:
            assert password not in path.read_bytes(), path
    assert password not in b''.join(d.log().encode() for d in site.daemons)
    redis = site.redis()
    assert redis('CONFIG', 'GET', 'maxmemory')[1] == b'1073741824'
    assert redis('CONFIG', 'GET', 'maxmemory-policy')[1] == b'noeviction'
    assert redis('CONFIG', 'GET', 'appendonly')[1] == b'yes'
    assert redis('CONFIG', 'GET', 'appendfsync')[1] == b'always'
    assert redis('CONFIG', 'GET', 'bind')[1] == b'127.0.0.1'
    redis.close()
    info = json.loads((site.base / 'evac' / 'leader.info').read_text())
    with socket.create_connection((info['address'], info['port'])) as s:
        s.sendall(b'PING\r\n')
        assert s.recv(100).startswith(b'-NOAUTH')
    speed_up(site)
    assert_all_moved(site)


def test_each_leader_has_an_epoch_and_the_last_two_are_kept(site):
    slow_campaign(site, workers=1)
    passwords = set()
    for epoch in range(1, 5):
        status = until(f'epoch {epoch}', lambda: (s := site.status())['live'] and s['epoch'] == epoch and s)
        assert status['epoch'] == epoch
        passwords.add((site.base / 'evac' / 'secret').read_text().splitlines()[0])
        wanted = [f'epoch-{e}' for e in range(max(1, epoch - 1), epoch + 1)]
        until('the last two are kept', lambda: sorted(p.name for p in (site.base / 'evac').glob('epoch-*')) == wanted)
        aof = list((site.base / 'evac' / f'epoch-{epoch}').rglob('*.aof'))
        assert aof and sum(f.stat().st_size for f in aof) > 100
        if epoch < 4:
            site.daemon()
            site.leader().kill()
    assert len(passwords) == 4
    speed_up(site)
    assert_all_moved(site)


def test_the_retries_of_busy_files_outlive_the_leader(site):
    daemon, = slow_campaign(site, files=60, retry_delays='2,2,2,2,2,2,2,2')
    path = site.ns / os.fsdecode(sorted(site.names_on(0))[-1])
    fd = os.open(path, os.O_WRONLY)
    speed_up(site)
    until('only this one is left', lambda: (p := site.progress())['skipped'] == 1 and not p['pending'] + p['in_progress'])
    daemon.kill()
    site.daemon()
    os.close(fd)
    assert_all_moved(site)


# --- metrics --------------------------------------------------------------------------------------------------------

METRICS = {
    'global_metrics': {
        'active_workers': int, 'campaign_name': str, 'campaign_status': str, 'leader_hostname': str, 'target_osts': str,
        'progress': {k: int for k in ('files_discovered', 'files_succeeded', 'files_failed', 'files_skipped',
                                      'files_in_progress')},
        'queues': {'scan_jobs_pending': int, 'migrate_jobs_pending': int}},
    'local_metrics': {
        'hostname': str, 'status': str,
        'counters': {k: int for k in ('scans_completed', 'files_migrated_succeeded', 'files_migrated_failed',
                                      'files_migrated_skipped')},
        'rates': {'migrate_rate_files_per_sec': (int, float), 'found_files_rate_per_sec': (int, float)}}}


def assert_shape(value, shape, where='metrics'):
    if isinstance(shape, dict):
        for key, below in shape.items():
            assert key in value, f'{where} has no {key}'
            assert_shape(value[key], below, f'{where}.{key}')
    else:
        assert isinstance(value, shape) and not isinstance(value, bool), f'{where}: {value!r}'


def get(port, path='/metrics', accept=None):
    request = urllib.request.Request(f'http://127.0.0.1:{port}{path}', headers={'Accept': accept} if accept else {})
    with urllib.request.urlopen(request, timeout=5) as reply:
        return reply.headers['Content-Type'], reply.read()


def test_metrics_in_json_and_for_prometheus(site):
    slow_campaign(site, files=1200, workers=2)
    ports = {w['pid']: w['metrics_port'] for w in site.status()['workers']}
    assert len(set(ports.values())) == 2, 'each daemon has its own'
    leader = site.leader().pid
    for pid, port in ports.items():
        # A follower answers for the campaign as well.
        def answer():
            kind, body = get(port)
            assert kind.startswith('application/json')
            return json.loads(body)
        metrics = until('files move', lambda: (m := answer())['local_metrics']['counters']['files_migrated_succeeded'] > 0
                        and m['global_metrics']['progress']['files_discovered'] > 0 and m, 15)
        assert_shape(metrics, METRICS)
        assert metrics['global_metrics']['campaign_name'] == 'evac'
        assert metrics['global_metrics']['campaign_status'] == 'running', 'leader' if pid == leader else 'follower'
        assert metrics['global_metrics']['target_osts'] == '0'
        assert metrics['global_metrics']['active_workers'] == 2, ('leader' if pid == leader else 'follower', metrics)
        assert metrics['global_metrics']['progress']['files_discovered'] > 0
        assert metrics['global_metrics']['leader_hostname'] == site.status()['leader']
    # As Prometheus asks.
    accept = 'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,' \
             'text/plain;version=0.0.4;q=0.5,*/*;q=0.1'
    kind, body = get(ports[leader], accept=accept)
    assert kind.startswith(('text/plain', 'application/openmetrics-text'))
    lines = body.decode().splitlines()
    sample = re.compile(r'[a-zA-Z_:][\w:]*(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [-+0-9.eE]+$')
    assert len(lines) > 20
    assert [x for x in lines if not x.startswith(('# HELP ', '# TYPE ', '# EOF')) and not sample.match(x)] == []
    assert any(x.startswith('drover_') and 'moved' in x and 'campaign="evac"' in x for x in lines)
    # A browser and a plain client get JSON; /status is what status --json prints.
    assert get(ports[leader], accept='*/*')[0].startswith('application/json')
    check_status(get(ports[leader], '/status')[1] + b'\n')
    with pytest.raises(urllib.error.HTTPError) as missing:
        get(ports[leader], '/nothing')
    assert missing.value.code == 404
    speed_up(site)
    assert_all_moved(site)


def test_metrics_port_0_means_no_status_server(site):
    daemon, = slow_campaign(site, metrics_port=0)
    assert [w['metrics_port'] for w in site.status()['workers']] == [0]
    speed_up(site)
    assert_all_moved(site)
    assert daemon.process.returncode == 0
