# SPDX-License-Identifier: LGPL-2.1-or-later
"""hsm-stream-tail on a real server: what it prints, with paths of a lab, and how it ends."""
import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest

from harness import BUILD, PATIENCE, free_port, run, until
from hsm import NOW, Follower, Server, event
from test_list import fid_of

P = 'hsm:actions'
A, B = f'{P}:fs-MDT0000', f'{P}:fs-MDT0001'
ENV = {**os.environ, 'TZ': 'UTC'}
GREETING = f"Tailing streams with prefix '{P}:*'. Press Ctrl+C to exit."


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / 'redis'
    folder.mkdir()
    server = Server(str(folder))
    server.conf = tmp_path / 'tail.yaml'
    server.conf.write_text(f'redis_url: "{server.url}"\n')
    yield server
    server.kill()


def words(server, *more):
    return ['-c', server.conf, *more]


def once(server, *more, check=0, env=ENV):
    return run('hsm-stream-tail', *words(server, '--from-beginning', '--run-once', *more), check=check, env=env)


def follow(server, *more, env=ENV, **kw):
    return Follower(BUILD / 'hsm-stream-tail', *words(server, *more), env=env, **kw)


def test_a_line_is_the_documented_one(server):
    server('XADD', A, '1759-0', 'data', json.dumps(event(1, 'UPDATE', 'RESTORE', 'STARTED')))
    server('XADD', A, '1760-0', 'data', json.dumps(event(2, status=None, action=None, timestamp=None)))
    server('XADD', A, '1761-7', 'data', json.dumps(event(3, fid=None, action_key=None)))
    result = once(server)
    when = time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(NOW))
    assert result.out.splitlines() == [
        f'{when} [fs-MDT0000] RESTORE  STARTED  -> 0x200000402:0x1:0x0 (id: 1759-0)',
        'N/A [fs-MDT0000] NEW      ?        -> 0x200000402:0x2:0x0 (id: 1760-0)',
        f'{when} [fs-MDT0000] ARCHIVE  WAITING  (id: 1761-7)',
    ]
    assert result.err.splitlines() == [GREETING]


def test_purged_is_hidden_unless_it_is_shown(server):
    server.add(A, event(1, status='WAITING'))
    server.add(A, event(2, status='STARTED'))
    server.add(A, event(3, 'UPDATE', 'RESTORE', 'FAILED'))
    server.add(A, event(4, 'PURGED'))

    def shown(*more):
        return [int(re.search(r'0x200000402:0x(\d)', x)[1]) for x in once(server, *more).out.splitlines()]

    assert shown() == [1, 2, 3]
    assert shown('--show', 'purged') == [1, 2, 3, 4]
    assert shown('--show', 'x', 'PURGED', 'y', '--hide', 'Started', 'waiting') == [3, 4]
    assert shown('--hide', 'restore,waiting', '--hide', 'STARTED') == []
    assert shown('--hide', 'UPDATE', '--json')[:1] == [1]
    assert shown('--show', 'PURGED', '--hide', 'PURGED') == [1, 2, 3]


def test_json_is_the_event_and_its_id(server):
    body = event(1, more={'a': [1, 'é "\\ \n']})
    ids = [server.add(A, body), server.add(B, json.dumps(body, indent=2))]
    lines = once(server, '--json').out.splitlines()
    assert sorted((json.loads(x) for x in lines), key=lambda x: x['stream_id']) == [{**body, 'stream_id': i} for i in ids]


@pytest.mark.parametrize('where', ['lab', 'lab/ns', 'lab/ns/', 'link'])
def test_paths_of_a_mounted_file_system(server, tmp_path, where):
    run('drover-lab', 'create', tmp_path / 'lab', '--osts', 2)
    run('drover-lab', 'fill', tmp_path / 'lab', '--files', 3, '--size', '1K')
    (tmp_path / 'link').symlink_to('lab/ns')
    folder = tmp_path / 'lab/ns/d0000'
    odd = os.fsencode(folder) + b'/a\n\xff\\b'
    os.rename(folder / 'f0000001', odd)
    for n, path in enumerate([folder / 'f0000000', odd]):
        server.add(A, event(n, fid=fid_of(path).decode()), f'{n + 1}-1')
    server.add(A, event(7, fid='0x200000400:0x7fffffff:0x1'), '7-1')
    server.add(A, event(8, fid='no fid'), '8-1')
    top = tmp_path / {'lab': 'lab/ns', 'link': 'link'}.get(where, 'lab/ns')
    paths = [f'{top}/d0000/f0000000', f'{top}/d0000/a\\n\\xff\\\\b']
    result = once(server, '--mountpoint', f'{tmp_path}/{where}')
    assert [x.partition(' -> ')[2] for x in result.out.splitlines()] == [
        f'{paths[0]} (id: 1-1)', f'{paths[1]} (id: 2-1)',
        '(path for 0x200000400:0x7fffffff:0x1 not found) (id: 7-1)', '(path for no fid not found) (id: 8-1)']
    lines = [json.loads(x) for x in once(server, '--json', '--mountpoint', f'{tmp_path}/{where}').out.splitlines()]
    assert [x.get('path') for x in lines] == [*paths, None, None]


def test_a_mount_point_without_lustre_is_told_once(server, tmp_path):
    for i in range(3):
        server.add(A, event(i))
    for folder in ('/proc', tmp_path / 'nothing'):
        result = once(server, '--mountpoint', folder)
        assert result.out.count(' -> 0x200000402:') == 3
        assert result.err.count('hsm-mountpoint') == 1


def test_it_follows_and_finds_new_streams(server):
    server.add(A, event(1))
    with follow(server) as tail:
        until('the greeting', lambda: GREETING in tail.errors)

        def write():
            server.add(A, event(2))
            return tail.lines

        until('a line', write, every=0.1)
        server.add(B, event(3, mdt='fs-MDT0001'))
        tail.until('the new stream', lambda lines: any('fs-MDT0001' in x for x in lines))
        assert not any(':0x1:' in x for x in tail.lines)
        assert tail.end() == 0
        assert tail.errors == [GREETING]


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_quietly(server, how):
    server.add(A, event(1))
    with follow(server, '--from-beginning') as tail:
        tail.n_lines(1)
        assert tail.end(how) == 0
        assert tail.errors == [GREETING] and len(tail.lines) == 1


def test_it_ends_when_nobody_reads_on(server):
    for i in range(20000):
        server.client.pipeline([('XADD', A, '*', 'data', json.dumps(event(i)))] * 1000) if i % 1000 == 0 else None
    for more in ([], ['--run-once']):
        p = subprocess.Popen([BUILD / 'hsm-stream-tail', *words(server, '--from-beginning', *more)], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        assert p.stdout.readline()
        p.stdout.close()
        assert p.wait(PATIENCE) == 0
        assert p.stderr.read().decode().splitlines() == [GREETING]
        p.stderr.close()
    # Nor when nothing more is to be printed.
    with follow(server, stdout=subprocess.PIPE) as tail:
        until('the greeting', lambda: GREETING in tail.errors)
    quiet = subprocess.Popen([BUILD / 'hsm-stream-tail', *words(server)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    quiet.stdout.close()
    assert quiet.wait(PATIENCE) == 0


def test_a_full_disk_is_told(server):
    server.add(A, event(1))
    with open('/dev/full', 'wb') as full:
        p = subprocess.run([BUILD / 'hsm-stream-tail', *words(server, '--from-beginning', '--run-once')], stdout=full,
                           stderr=subprocess.PIPE, timeout=PATIENCE)
    assert p.returncode == 1 and b'cannot write: No space left on device' in p.stderr


def test_run_once_from_now_ends_at_once(server):
    server.add(A, event(1))
    result = run('hsm-stream-tail', *words(server, '--run-once'))
    assert result.out == ''


def test_a_lost_server_is_waited_for(server):
    with follow(server, '--from-beginning') as tail:
        server.add(A, event(1))
        tail.n_lines(1)
        server.kill()
        until('it says so', lambda: any('redis-' in x for x in tail.errors))
        server.start()
        server.add(A, event(2))
        tail.n_lines(2)
        assert [re.search(r':0x(\d):', x)[1] for x in tail.lines] == ['1', '2']


def test_without_a_server(tmp_path):
    port = free_port()
    result = run('hsm-stream-tail', '-c', '/dev/null', '--port', port, '--run-once', check=1)
    assert 'hsm-stream-tail: cannot read from the Redis server' in result.err and str(port) in result.err
    with Follower(BUILD / 'hsm-stream-tail', '-c', '/dev/null', '--from-beginning', '--port', str(port)) as tail:
        until('it says so', lambda: any('redis-unreachable' in x for x in tail.errors))
        server = Server(str(tmp_path))
        server.kill(signal.SIGTERM)
        server.start(port=port)
        server.add(A, event(1))
        tail.n_lines(1)
        assert tail.end() == 0
        server.kill()


def test_the_command_line_goes_before_the_file(server, tmp_path):
    server.kill(signal.SIGTERM)
    port = free_port()
    server.start(port=port)
    server('SELECT', 3)
    server.add('other:fs-MDT0000', event(1))
    # redis_url names nobody; --host, --port and --db stand for it.
    server.conf.write_text('redis_url: redis://localhost:1/9\nredis_stream_prefix: nothing\nunknown_key: 1\n'
                           f'log_file: {tmp_path}/log\nlog_level: debug\n')
    result = once(server, '--host', '127.0.0.1', '--port', port, '--db', '3', '--stream-prefix', 'other')
    assert result.out.count('\n') == 1
    assert 'unknown_key' in result.err + (tmp_path / 'log').read_text()
    result = once(server, '--host=127.0.0.1', f'--port={port}', '--db=3', '--stream-prefix=other', '--log-level', 'CRITICAL',
                  '--log-file', tmp_path / 'log2')
    assert (tmp_path / 'log2').read_bytes() == b''


@pytest.mark.parametrize('wrong', [
    ['--port', '0'], ['--port', 'x'], ['--db', '-1'], ['--nothing'], ['word'], ['--show'], ['--log-level', 'loud'],
    ['-c', '/nothing/here'], ['--stream-prefix', ''], ['--run-once', 'word'], ['--host', ''],
])
def test_usage_errors(wrong):
    result = run('hsm-stream-tail', *wrong, check=2)
    assert result.out == '' and result.err.startswith('hsm-stream-tail: ')


def test_a_wrong_configuration(tmp_path):
    conf = tmp_path / 'c.yaml'
    for text in ('redis_port: x\n', '- a\n', 'a: [\n', 'redis_url: nothing\n', 'redis_stream_prefix: ""\n'):
        conf.write_text(text)
        result = run('hsm-stream-tail', '-c', conf, check=2)
        assert result.out == '' and result.err.splitlines()[-1].startswith('hsm-stream-tail: ')


def test_version_and_help():
    assert run('hsm-stream-tail', '--version').out.startswith('hsm-stream-tail ')
    assert '--from-beginning' in run('hsm-stream-tail', '--help').out


def test_colours_on_a_terminal_alone(server):
    server.add(A, event(1, status='FAILED'))

    def on_terminal(env):
        leader, follower = pty.openpty()
        p = subprocess.Popen([BUILD / 'hsm-stream-tail', *words(server, '--from-beginning', '--run-once')], stdout=follower,
                             stderr=subprocess.DEVNULL, env=env)
        os.close(follower)
        assert p.wait(PATIENCE) == 0
        text = os.read(leader, 4096)
        os.close(leader)
        return text

    plain = {k: v for k, v in ENV.items() if k != 'NO_COLOR'}
    assert b'\x1b[31mFAILED' in on_terminal(plain)
    assert b'\x1b' not in on_terminal({**plain, 'NO_COLOR': ''})
    assert '\x1b' not in once(server, env=plain).out


# --- the documented system, where it is installed -------------------------------------------------------------------

PYTHON = os.environ.get('HSM_PYTHON', '/usr/bin/python3')
PYTHON_ENV = {**os.environ, 'PYTHONPATH': os.environ.get('HSM_PYTHON_SRC', '')}


@pytest.fixture
def python():
    p = subprocess.run([PYTHON, '-c', 'import lustre_hsm_action_stream.consumer, lustre_hsm_action_stream.shipper'],
                       env=PYTHON_ENV, stderr=subprocess.DEVNULL)
    if p.returncode:
        pytest.skip('lustre_hsm_action_stream is not there: HSM_PYTHON_SRC names its source folder')


def on_port(server):
    server.kill(signal.SIGTERM)
    server.start(port=free_port())
    return server.port


ACTIONS = ''.join(
    f'lrh=[type=10680000 len=136 idx=1/{n}] fid=[0x200000402:0x{n:x}:0x0] dfid=[0x200000402:0x{n:x}:0x0] '
    f'compound/cookie=0x0/0x{n + 100:x} action=ARCHIVE archive#=1 flags=0x0 extent=0x0-0xffffffffffffffff gid=0x0 datalen=0 '
    f'status=WAITING data=[]\n' for n in range(1, 51))


def test_events_of_the_documented_shipper_are_read(server, tmp_path, python):
    port = on_port(server)
    folder = tmp_path / 'fs-MDT0000' / 'hsm'
    folder.mkdir(parents=True)
    conf = tmp_path / 'shipper.yaml'
    conf.write_text(f'redis_host: 127.0.0.1\nredis_port: {port}\nredis_db: 1\nmdt_watch_glob: "{tmp_path}/*-MDT????/hsm/actions"\n'
                    f'cache_path: "{tmp_path}/cache.json"\npoll_interval: 1\nlog_level: INFO\nredis_stream_prefix: "hsm:actions"\n'
                    'reconcile_interval: 21600\ntrim_chunk_size: 1000\nuse_approximate_trimming: true\n')
    lines = ACTIONS.splitlines(True)
    for text in (ACTIONS, ACTIONS.replace('WAITING', 'STARTED', 1), ''.join(lines[2:])):
        (folder / 'actions').write_text(text)
        subprocess.run([PYTHON, '-m', 'lustre_hsm_action_stream.shipper', '-c', conf, '--run-once'], env=PYTHON_ENV, check=True,
                       stderr=subprocess.PIPE, timeout=PATIENCE)
    result = once(server, '--json', '--show', 'PURGED')
    events = [json.loads(x) for x in result.out.splitlines()]
    kinds = [e['event_type'] for e in events]
    assert (kinds.count('NEW'), kinds.count('UPDATE'), kinds.count('PURGED')) == (50, 1, 2)
    assert result.err.splitlines() == [GREETING]
    assert len(once(server).out.splitlines()) == 51


READ = '''
import sys, json
from lustre_hsm_action_stream.consumer import StreamReader
for event in StreamReader(host='127.0.0.1', port=int(sys.argv[1]), db=1, prefix='hsm:actions').events(from_beginning=True, block_ms=200):
    if not event:
        break
    print(json.dumps([event.stream, event.id, event.data]))
'''


@pytest.mark.skipif(not (BUILD / 'hsm-action-shipper').exists(), reason='hsm-action-shipper is not built')
def test_the_documented_reader_reads_our_events(server, tmp_path, python):
    port = on_port(server)
    folder = tmp_path / 'fs-MDT0000' / 'hsm'
    folder.mkdir(parents=True)
    conf = tmp_path / 'shipper.yaml'
    conf.write_text(f'redis_host: 127.0.0.1\nredis_port: {port}\nmdt_watch_glob: "{tmp_path}/*-MDT????/hsm/actions"\n'
                    f'cache_path: "{tmp_path}/cache.bin"\n')
    for text in (ACTIONS, ACTIONS.replace('WAITING', 'STARTED', 1), ACTIONS[:-1].rpartition('\n')[0] + '\n'):
        (folder / 'actions').write_text(text)
        run('hsm-action-shipper', '-c', conf, '--run-once')
    p = subprocess.run([PYTHON, '-c', READ, str(port)], env=PYTHON_ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=PATIENCE)
    assert p.returncode == 0, p.stderr
    theirs = [json.loads(x) for x in p.stdout.decode().splitlines()]
    ours = [json.loads(x) for x in once(server, '--json', '--show', 'PURGED').out.splitlines()]
    assert [{**data, 'stream_id': id} for _, id, data in theirs] == ours and len(ours) >= 52
    first = theirs[0][2]
    assert {'cat_idx', 'rec_idx', 'fid', 'action', 'status', 'event_type', 'mdt', 'timestamp', 'raw', 'action_key'} <= first.keys()


