# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad input: one clear line on stderr, exit 2, and nothing is created."""
import os
import re
import shutil
import socket

import pytest

from harness import BUILD, free_port, names_below, processes_below, run


@pytest.fixture
def small(site):
    """A lab of 4 OSTs with files, and no campaign."""
    site.make(4)
    site.lab('fill', '--files', 20, '--size', '1-8K')
    return site


def everything(site):
    """All that a refused command could have made: campaigns, files of the lab, processes."""
    lab = {p: v for p, v in names_below(site.lab_dir).items() if not p.startswith((b'journal', b'lab.state'))}
    return names_below(site.base), lab, sorted(os.listdir(site.dir))


def assert_refused(site, result, *words):
    assert result.code == 2, result
    assert result.out == '', result
    assert result.err.count('\n') == 1 and result.err.endswith('\n'), result
    assert re.match(r'drover[a-z-]*( [a-z-]+)?: ', result.err), result
    for word in words:
        assert re.search(word, result.err), f'{word!r} is not told: {result.err}'


def refused(site, *args, words=(), program='drover', before=None, **more):
    was = everything(site) if before is None else before
    result = run(program, '--config', site.conf, *args, check=None, timeout=20, **more)
    assert_refused(site, result, *words)
    assert everything(site) == was, f'something was made: {result}'
    assert processes_below(site.dir) == {}
    return result


def start_refused(site, *words, name='evac', osts='0', scan=None, more=(), **kw):
    return refused(site, 'start', '--name', name, '--osts', osts, '--scan-path', scan or site.ns, *more, words=words, **kw)


@pytest.mark.parametrize('osts', ['', 'x', '3-1', '1-', '-', '1,,2', '0x1', '1 2', '-1', '99999999999999999999', '1-2-3', ',',
                                  '1.5', '70000'])
def test_an_ost_range_that_is_not_one(shared, osts):
    start_refused(shared, '--osts', osts=osts)


@pytest.mark.parametrize('osts, told', [('4', '4'), ('0,7', '7'), ('2-5', '4')])
def test_an_ost_that_does_not_exist(shared, osts, told):
    start_refused(shared, '--osts', told, osts=osts)


@pytest.mark.parametrize('osts', ['0-3', '0,1,2,3', '3,0-2'])
def test_all_osts_as_sources(shared, osts):
    start_refused(shared, '--osts', osts=osts)


def test_a_scan_path_that_matches_nothing(shared):
    start_refused(shared, '--scan-path', 'nothing', scan=f'{shared.ns}/nothing*')
    start_refused(shared, '--scan-path', 'missing', scan=f'{shared.ns}/missing')
    start_refused(shared, '--scan-path', 'f0000000', scan=next(shared.ns.glob('*/f0000000')))


def test_a_scan_path_that_is_not_on_lustre_or_a_lab(shared):
    start_refused(shared, '--scan-path', scan='/usr')
    start_refused(shared, '--scan-path', scan=shared.dir)
    start_refused(shared, '--scan-path', 'ns', scan=shared.lab_dir)
    start_refused(shared, '--scan-path', scan=shared.lab_dir / 'OST0000')


def test_scan_paths_of_two_labs(small):
    run('drover-lab', 'create', small.dir / 'lab2', '--osts', 4)
    start_refused(small, '--scan-path', more=['--scan-path', small.dir / 'lab2' / 'ns'])


def test_excludes_that_make_no_sense(shared):
    start_refused(shared, '--exclude-path', more=['--exclude-path', ''])
    start_refused(shared, '--exclude-path', more=['--exclude-path', '../x'])
    start_refused(shared, '--exclude-path', more=['--exclude-path', '/usr'])
    start_refused(shared, '--exclude-path', more=['--exclude-path', shared.ns])


def test_a_second_campaign_of_the_same_name(shared):
    start_refused(shared, 'there', name='there', osts='1')


@pytest.mark.parametrize('name', ['', '.', '..', 'a/b', '-x', '.hidden', 'x' * 65, 'a b', 'ä', 'a\nb', '../evac'])
def test_a_name_that_is_not_one(shared, name):
    start_refused(shared, 'name', name=name)


def test_options_that_are_missing_or_unknown(shared):
    refused(shared, 'start', '--osts', '0', '--scan-path', shared.ns, words=['--name'])
    refused(shared, 'start', '--name', 'a', '--scan-path', shared.ns, words=['--osts'])
    refused(shared, 'start', '--name', 'a', '--osts', '0', words=['--scan-path'])
    start_refused(shared, 'bogus', more=['--bogus'])
    refused(shared, 'start', 'balance', '--name', 'a', '--osts', '0', words=['balance'])
    refused(shared, 'nonsense', words=['nonsense'])
    for command in ('status', 'wait', 'report', 'pause', 'resume', 'retry-skipped', 'retry-failed', 'delete', 'run'):
        refused(shared, command)
        refused(shared, command, 'nobody', words=['nobody'])
        refused(shared, command, '../evac')
        refused(shared, command, 'nobody', '--bogus', words=['bogus'])
        refused(shared, command, 'nobody', 'another')
    refused(shared, 'wait', 'nobody', '--timeout', 'soon', words=['timeout'])


def test_a_base_path_that_cannot_be_written(small):
    (small.dir / 'file').write_bytes(b'')
    for base in (small.dir / 'file' / 'below', '/proc/drover', small.dir / 'file'):
        small.configure(base_path=base)
        start_refused(small, re.escape(os.fspath(base)))
    small.configure(base_path='relative/path')
    start_refused(small, 'base_path')


CONFIGS = [
    ('[main]\nbase_path = /x\nbogus = 1\n', 3, 'bogus'),
    ('[main]\n\n# a comment\nscan_workers = many\n', 4, 'scan_workers'),
    ('[main]\nscan_workers = 0\n', 2, 'scan_workers'),
    ('[main]\nmigration_workers = 257\n', 2, 'migration_workers'),
    ('[main]\nredis_port = 70000\n', 2, 'redis_port'),
    ('[main]\nredis_port = 0\n', 2, 'redis_port'),
    ('[main]\nmetrics_port = -1\n', 2, 'metrics_port'),
    ('[main]\nredis_maxmemory = 1M\n', 2, 'redis_maxmemory'),
    ('[main]\nreserve_percent = 100\n', 2, 'reserve_percent'),
    ('[main]\nclaim_timeout = soon\n', 2, 'claim_timeout'),
    ('[main]\nretry_delays = 1,x\n', 2, 'retry_delays'),
    ('[main]\nretry_delays = ' + ','.join('1' * 17) + '\n', 2, 'retry_delays'),
    ('[main]\nfsync = perhaps\n', 2, 'fsync'),
    ('[main]\nlog_level = loud\n', 2, 'log_level'),
    ('[main]\ncommunication_subnet = somewhere\n', 2, 'communication_subnet'),
    ('[main]\nmetrics_bind_address = 1.2.3\n', 2, 'metrics_bind_address'),
    ('[main]\nlfs_migrate_command = lfs migrate -D\n', 2, 'lfs_migrate_command'),
    ('[main]\nlfs_migrate_command = lfs "migrate\n', 2, 'lfs_migrate_command'),
    ('[main]\nlfs_migrate_timeout = 0\n', 2, 'lfs_migrate_timeout'),
    ('[main]\nmover = rsync\n', 2, 'native, lfs'),
    ('[main]\nbase_path = here\n', 2, 'base_path'),
    ('[other]\nbase_path = /x\n', 1, 'other'),
    ('base_path = /x\n', 1, 'main'),
    ('[main]\nno sense at all\n', 2, ''),
    ('[main\n', 1, ''),
]


@pytest.mark.parametrize('text, line, word', CONFIGS, ids=[c[0].strip().replace('\n', '/')[:50] for c in CONFIGS])
def test_a_config_file_names_file_and_line(shared, text, line, word):
    before = everything(shared)
    try:
        shared.conf.write_text(text)
        place = re.escape(f'{shared.conf}:{line}:')
        start_refused(shared, place, word, before=before)
        refused(shared, 'list', words=[place, word], before=before)
        refused(shared, '--campaign', 'there', program='droverd', words=[place, word], before=before)
    finally:
        shared.configure()


def test_a_config_file_that_is_not_there(shared):
    result = run('drover', '--config', shared.dir / 'missing.conf', 'list', check=None)
    assert_refused(shared, result, 'missing.conf')
    result = run('droverd', '--config', shared.dir / 'missing.conf', '--campaign', 'x', check=None)
    assert_refused(shared, result, 'missing.conf')


def daemon_refused(site, *args, words=(), **more):
    return refused(site, '--campaign', 'evac', *args, program='droverd', words=words, **more)


def test_no_redis_server_in_the_path(small):
    """droverd needs it; run, which starts a droverd, says the same."""
    small.start(osts='0')
    folder = small.dir / 'bin'
    folder.mkdir()
    for program in ('drover', 'droverd'):
        os.symlink(BUILD / program, folder / program)
    env = dict(os.environ, PATH=os.fspath(folder))
    daemon_refused(small, words=['redis-server', 'PATH'], env=env)
    result = small.drover('run', 'evac', check=2, env=env)
    assert result.err.count('\n') == 1 and 'redis-server' in result.err
    assert small.state() == 'created' and not list((small.base / 'evac').glob('epoch-*'))
    assert shutil.which('redis-server'), 'the other tests need one'


@pytest.mark.parametrize('option', ['--redis-port', '--metrics-port'])
def test_a_port_of_the_command_line_that_is_in_use(small, option):
    small.start(osts='0')
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        daemon_refused(small, option, port, words=[str(port)])
    # The same port in the configuration is a first choice only.
        small.configure(**{option[2:].replace('-', '_'): port})
        small.daemon()
        assert small.wait() == 0
        small.ended()


def test_ports_of_the_command_line_are_used(small):
    small.configure(scan_batch_size=1, migration_workers=1)
    small.set('1-3', 'slow', latency_ms=200)
    small.start(osts='0')
    redis, metrics = free_port(), free_port()
    small.daemon('evac', '--redis-port', redis, '--metrics-port', metrics)
    status = small.running()
    assert status['workers'][0]['metrics_port'] == metrics
    connection = small.redis()
    assert connection.socket.getpeername()[1] == redis
    connection.close()
    small.set('1-3', 'up')
    assert small.wait() == 0


@pytest.mark.parametrize('words', [['--scan-workers', '0'], ['--migration-workers', 'x'], ['--redis-port', '0'],
                                   ['--redis-port', '99999'], ['--log-level', 'loud'], ['--retry-delays', '1;2'],
                                   ['--claim-timeout', 'x'], ['--max-pending-migrations', '-1'], ['--bogus'], ['word'],
                                   ['--scan-workers'],
                                   ['--mover', 'rsync'], ['--mover']], ids=' '.join)
def test_options_of_droverd_that_are_bad(shared, words):
    refused(shared, '--campaign', 'there', *words, program='droverd')


def test_droverd_without_a_campaign_or_for_one_that_is_not_there(shared):
    refused(shared, program='droverd', words=['--campaign'])
    refused(shared, '--campaign', 'nobody', program='droverd', words=['nobody'])
    refused(shared, '--campaign', '../lab', program='droverd')


def test_droverd_on_another_lab_than_the_campaign_was_started_on(small):
    small.start(osts='0')
    shutil.rmtree(small.lab_dir)
    small.make(4)
    small.lab('fill', '--files', 20, '--size', '1-8K')
    daemon_refused(small, words=['file system'])
    shutil.rmtree(small.lab_dir)
    (small.dir / 'lab').mkdir()
    daemon_refused(small)


def test_sources_that_cannot_fit_on_the_targets(site):
    site.make(3, size='8M')
    site.lab('fill', '--files', 60, '--size', '300K')
    start_refused(site, 'room|fit|space')
    # One target less, and what fitted fits no more.
    shutil.rmtree(site.lab_dir)
    site.make(4, size='8M')
    site.lab('fill', '--files', 60, '--size', '200K')
    site.start('fits', osts='0')
    site.set('1-3', 'closed')
    start_refused(site, 'room|fit|space')
    site.set('1-3', 'up')
    # The reserve counts.
    site.configure(reserve_percent=70)
    start_refused(site, 'room|fit|space', '70')


def test_what_the_commands_say_is_escaped(shared):
    """A name with a newline or an escape code does not get to the terminal as it is."""
    result = refused(shared, 'status', 'a\nb\033[31m')
    assert '\033' not in result.err
    start_refused(shared, scan=os.fsencode(shared.ns) + b'/\xff\n\033[31m')


def test_help_and_version_are_no_errors(small):
    for program in ('drover', 'droverd', 'drover-lab'):
        assert re.search(r'\d+\.\d+', run(program, '--version').out)
        assert 'sage' in run(program, '--help').out
