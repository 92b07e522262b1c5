# SPDX-License-Identifier: LGPL-2.1-or-later
"""hsm-stream-stats on a real server: the keys of the document, orphans that are forgotten, and what goes wrong."""
import json
import os
import re
import socket
import stat
import subprocess
import time

import pytest

from harness import BUILD, free_port, run
from hsm_tools import PREFIX, Server, event_of, fid_of

PROGRAM = 'hsm-stream-stats'


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.close()


def stats(server, *more, **kw):
    return json.loads(run(PROGRAM, *server.args(), *more, **kw).out)


def breakdown(found):
    return [(b['mdt'], b['action'], b['status'], b['count']) for b in found['breakdown']]


def test_stats__has_the_keys_of_the_document_in_their_order(server):
    server.action('NEW', 1, status='WAITING', age=500)
    server.action('UPDATE', 1, age=100)
    server.action('NEW', 2, action='RESTORE', mdt='fs-MDT0001')
    server.action('NEW', 3, mdt='fs-MDT0001')
    server.purge(3, mdt='fs-MDT0001')
    server.redis.xadd(f'{PREFIX}:fs-MDT0002', {'data': '{}'}, id='1000-0')
    server.redis.xtrim(f'{PREFIX}:fs-MDT0002', maxlen=0, approximate=False)
    found = stats(server)
    assert list(found) == ['summary', 'streams', 'breakdown']
    assert list(found['summary']) == ['total_live_actions', 'oldest_live_action_age_seconds', 'total_events_replayed',
                                      'total_stream_entries']
    summary = found['summary']
    assert (summary['total_live_actions'], summary['total_events_replayed'], summary['total_stream_entries']) == (2, 5, 5)
    assert summary['oldest_live_action_age_seconds'] in range(500, 600)
    assert [list(s) for s in found['streams']] == [['mdt', 'length', 'age_seconds', 'newest_entry_age_seconds']] * 3
    assert [(s['mdt'], s['length']) for s in found['streams']] == [('fs-MDT0000', 2), ('fs-MDT0001', 3), ('fs-MDT0002', 0)]
    assert found['streams'][2]['newest_entry_age_seconds'] == 0
    assert [list(b) for b in found['breakdown']] == [['mdt', 'action', 'status', 'count']] * 2
    assert breakdown(found) == [('fs-MDT0000', 'ARCHIVE', 'STARTED', 1), ('fs-MDT0001', 'RESTORE', 'STARTED', 1)]


def test_stats__prints_as_json_with_an_indent_of_two(server):
    for i in range(1, 5):
        server.action('NEW', i, status='WAITING' if i % 2 else 'STARTED')
    text = run(PROGRAM, *server.args()).out
    assert text == json.dumps(json.loads(text), indent=2) + '\n'


def test_stats__of_an_empty_server(server):
    found = stats(server)
    assert found == {'summary': {'total_live_actions': 0, 'oldest_live_action_age_seconds': 0, 'total_events_replayed': 0,
                                 'total_stream_entries': 0}, 'streams': [], 'breakdown': []}


def test_stats__tells_the_ages_of_a_stream(server):
    now = int(time.time() * 1000)
    for age in (5000, 1000):
        server.add(event_of('NEW', age, 'ARCHIVE', 'STARTED', 'fs-MDT0000', None, 0), id=f'{now - age * 1000}-0')
    stream, = stats(server)['streams']
    assert stream['length'] == 2 and stream['age_seconds'] == 4000
    assert stream['newest_entry_age_seconds'] in range(999, 1100)


@pytest.mark.parametrize('how', ['by index', 'by key alone', 'by maintenance', 'by maintenance with index'])
def test_stats__forgets_an_orphan_however_its_purge_was_made(server, how):
    for i in range(1, 4):
        server.action('NEW', i)
    server.action('NEW', 2, mdt='fs-MDT0001')
    if how == 'by index':
        server.purge(2)
    elif how == 'by key alone':
        server.purge(fid=fid_of(2))
    elif how == 'by maintenance':
        server.purge(fid=fid_of(2), source='maintenance')
    else:
        server.purge(2, source='maintenance', hash='0')
    assert breakdown(stats(server)) == [('fs-MDT0000', 'ARCHIVE', 'STARTED', 2), ('fs-MDT0001', 'ARCHIVE', 'STARTED', 1)]


def test_stats__tells_age_by_first_seen_where_the_event_has_it(server):
    server.action('UPDATE', 1, first_seen=int(time.time()) - 10000)
    assert stats(server)['summary']['oldest_live_action_age_seconds'] in range(10000, 10100)


def test_stats__skips_what_is_no_event(server):
    server.action('NEW', 1)
    for bad in ('', '{', '[]', 'null', '{"event_type": 5}', b'\xff\xfe', '{"event_type":"NEW"}', 'x' * (1 << 20)):
        server.add(bad)
    server.redis.xadd(f'{PREFIX}:fs-MDT0000', {'other': 'field'})
    server.redis.set(f'{PREFIX}:no-stream', 'x')
    server.add({'event_type': 'WHATEVER', 'cat_idx': 1, 'rec_idx': 1})
    result = run(PROGRAM, *server.args())
    found = json.loads(result.out)
    assert found['summary']['total_live_actions'] == 1 and found['summary']['total_events_replayed'] == 1
    assert 0 < len(result.err.splitlines()) < 6, result.err  # told, but not once an entry
    text = run(PROGRAM, *server.args(), '--prometheus', '--log-level', 'CRITICAL')
    assert '\ndrover_hsm_bad_entries 9\n' in text.out and not text.err


def test_stats__is_valid_utf8_whatever_the_names(server):
    server.redis.xadd(b'hsm:actions:we\xff"\\\nird', {'data': json.dumps(event_of('NEW', 1, 'A"\\\n', 'Ω', 'm', None, 0))})
    raw = run(PROGRAM, *server.args()).raw
    found = json.loads(raw.decode('utf-8'))
    assert breakdown(found) == [('we\\xff"\\\\\\nird', 'A"\\\n', 'Ω', 1)]
    text = run(PROGRAM, *server.args(), '--prometheus').raw.decode('utf-8')
    for line in text.splitlines():
        assert line.startswith('# ') or METRIC.fullmatch(line), line


METRIC = re.compile(r'[a-z_]+(\{[a-z]+="([^"\\\n]|\\["\\n])*"(,[a-z]+="([^"\\\n]|\\["\\n])*")*\})? \d+')


def test_prometheus__says_the_same_as_the_json(server):
    server.action('NEW', 1, status='WAITING', age=300)
    server.action('NEW', 2)
    server.action('NEW', 3, action='RESTORE', mdt='fs-MDT0001')
    text = run(PROGRAM, *server.args(), '--prometheus').out
    names = set()
    for line in text.splitlines():
        if line.startswith('# TYPE '):
            assert line.endswith(' gauge')
            names.add(line.split()[2])
        elif not line.startswith('# HELP '):
            assert METRIC.fullmatch(line), line
            assert re.split('[{ ]', line)[0] in names, 'a value before its TYPE'
    for b in stats(server)['breakdown']:
        assert '\ndrover_hsm_live_actions{mdt="%(mdt)s",action="%(action)s",status="%(status)s"} %(count)d\n' % b in text
    assert '\ndrover_hsm_stream_length{mdt="fs-MDT0000"} 2\n' in text
    assert '\ndrover_hsm_all_live_actions 3\n' in text


def test_output__replaces_the_file_at_once(server, tmp_path):
    file = tmp_path / 'hsm.prom'
    file.write_text('old')
    before = file.stat().st_ino
    server.action('NEW', 1)
    result = run(PROGRAM, *server.args(), '--prometheus', '--output', file)
    assert result.out == '' and '\ndrover_hsm_all_live_actions 1\n' in file.read_text()
    assert file.stat().st_ino != before and stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [f for f in os.listdir(tmp_path) if 'prom' in f] == ['hsm.prom']
    result = run(PROGRAM, *server.args(), '--output', tmp_path / 'missing' / 'file', check=1)
    assert 'missing/file: No such file or directory' in result.err


def test_output__stays_as_it_was_when_there_is_no_server(tmp_path):
    file = tmp_path / 'hsm.prom'
    file.write_text('old')
    run(PROGRAM, '--host', '127.0.0.1', '--port', free_port(), '--prometheus', '--output', file, check=1)
    assert file.read_text() == 'old'


def test_stats__says_that_there_is_no_server():
    port = free_port()
    result = run(PROGRAM, '--host', '127.0.0.1', '--port', port, check=1)
    assert result.out == '' and f'hsm-stream-stats: redis://127.0.0.1:{port}/1: no server answers' in result.err


def test_stats__says_that_a_server_hangs(server):
    server.action('NEW', 1)
    server.hang()
    result = run(PROGRAM, *server.args(), check=1)
    assert result.out == '' and 'no server answers' in result.err


def test_stats__says_that_it_may_not(server):
    server.redis.config_set('requirepass', 'secret')
    result = run(PROGRAM, *server.args(), check=1)
    assert 'refuses user, password or permission' in result.err


def test_stats__says_that_it_is_no_redis():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        result = run(PROGRAM, '--host', '127.0.0.1', '--port', s.getsockname()[1], check=1)
    assert 'hsm-stream-stats: ' in result.err


def test_stats__fails_when_its_output_cannot_be_written(server):
    with open('/dev/full', 'wb') as full:
        p = subprocess.run([BUILD / PROGRAM, *server.args()], stdout=full, stderr=subprocess.PIPE)
    assert p.returncode == 1 and b'No space left' in p.stderr


def test_config__is_read_and_options_stand_over_it(server, tmp_path):
    server.action('NEW', 1)
    server.redis.xadd('other:fs-MDT0009', {'data': json.dumps(event_of('NEW', 5, 'REMOVE', 'WAITING', 'x', None, 0))})
    file = tmp_path / 'stats.yaml'
    file.write_text(f'redis_host: 127.0.0.1\nredis_port: {server.port}\nredis_stream_prefix: "other"\nsomething: else\n')
    result = run(PROGRAM, '-c', file)
    assert breakdown(json.loads(result.out)) == [('fs-MDT0009', 'REMOVE', 'WAITING', 1)]
    assert 'something' in result.err
    assert breakdown(json.loads(run(PROGRAM, '-c', file, '--stream-prefix', PREFIX).out)) == [
        ('fs-MDT0000', 'ARCHIVE', 'STARTED', 1)]
    assert stats(server, '--db', '2')['summary']['total_live_actions'] == 0
    log = tmp_path / 'log'
    assert not run(PROGRAM, '-c', file, '--log-file', log, '--log-level', 'DEBUG').err
    assert log.read_text()


@pytest.mark.parametrize('args, code, words', [
    (['-c', '/nonexistent.yaml'], 1, '/nonexistent.yaml'),
    (['--port', 'x'], 2, "--port: 'x'"),
    (['--port', '65536'], 2, '65536'),
    (['--stream-prefix', ''], 2, 'empty'),
    (['--log-level', 'LOUD'], 2, 'LOUD'),
    (['--nonsense'], 2, 'nonsense'),
    (['word'], 2, 'word'),
])
def test_usage__errors_are_told_in_one_line(args, code, words):
    result = run(PROGRAM, *args, check=code)
    assert words in result.err and len(result.err.splitlines()) == 1 and not result.out


def test_version__is_told():
    assert run(PROGRAM, '--version').out.startswith('hsm-stream-stats ')
