# SPDX-License-Identifier: LGPL-2.1-or-later
"""The reader of HSM events on a real server: what comes, in which order, and what deaths, renewals and bad input do to it."""
import json
import random
import signal
import subprocess
import threading
import time

import pytest

from harness import PATIENCE
from hsm import SANITIZED, Error, Follower, Server, event, program

P = 'hsm:actions'
A, B = f'{P}:fs-MDT0000', f'{P}:fs-MDT0001'


@pytest.fixture
def server(tmp_path):
    server = Server(str(tmp_path))
    yield server
    server.kill()


def follow(server, start='beginning', *more, prefix=P):
    return Follower(program('hsm-read'), server.url, prefix, start, 'discovery=100', *more)


def once(server, *more, prefix=P, start='once'):
    """@return all lines, the last of which counts"""
    p = subprocess.run([program('hsm-read'), server.url, prefix, start, *more], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=PATIENCE)
    assert p.returncode == 0, p
    return p.stdout.decode().splitlines()


def end(events, bad=0, foreign=0):
    return f'end events={events} bad={bad} foreign={foreign}'


def of(lines):
    """Events alone: (key, id, event)."""
    found = []
    for line in lines:
        key, _, rest = line.partition(' ')
        if ':' in key and not rest.endswith('reset'):
            mdt, id, body = rest.split(' ', 2)
            found.append((key, id, json.loads(body)))
    return found


def numbers(lines, key=None):
    return [e['rec_idx'] for k, _, e in of(lines) if key in (None, k)]


def test_all_that_streams_hold_in_their_order(server):
    ids = [(server.add(A, event(i)), server.add(B, event(i + 1000, mdt='fs-MDT0001'))) for i in range(300)]
    lines = once(server, 'batch=7')
    assert lines[-1] == end(600)
    assert numbers(lines, A) == list(range(300)) and numbers(lines, B) == list(range(1000, 1300))
    assert [i for k, i, _ in of(lines) if k == A] == [a for a, _ in ids]
    assert lines[0].split(' ')[1] == 'fs-MDT0000'


def test_new_events_and_new_streams_come_while_it_reads(server):
    server.add(A, event(1))
    with follow(server) as reader:
        reader.until('the first', lambda lines: 1 in numbers(lines))
        server.add(A, event(2))
        reader.until('the second', lambda lines: 2 in numbers(lines))
        server.add(B, event(3))
        server.add(B, event(4))
        reader.until('a new stream', lambda lines: 4 in numbers(lines))
        assert numbers(reader.lines) == [1, 2, 3, 4]
        assert reader.end() == 0
        assert reader.lines[-1] == end(4)


def test_it_waits_for_the_first_stream(server):
    with follow(server, 'now') as reader:
        reader.until('idle', lambda lines: 'idle' in lines)
        server.add(A, event(1))
        server.add(A, event(2))
        reader.until('both', lambda lines: numbers(lines) == [1, 2])


def test_from_now_leaves_out_what_was_there(server):
    server.add(A, event(1))
    with follow(server, 'now') as reader:
        reader.until('idle', lambda lines: 'idle' in lines)
        server.add(A, event(2))
        server.add(B, event(3))
        reader.until('all that is new', lambda lines: set(numbers(lines)) == {2, 3})
        assert len(numbers(reader.lines)) == 2


def test_from_now_loses_nothing_over_a_reconnection(server):
    server.add(A, event(1))
    with follow(server, 'now') as reader:
        reader.until('idle', lambda lines: 'idle' in lines)
        server.kill()
        reader.until('it knows', lambda lines: 'error ENOTCONN' in lines)
        server.start()
        # No event had come: only the concrete id of the first connection tells where to go on.
        server.add(A, event(2))
        reader.until('what came meanwhile', lambda lines: numbers(lines) == [2])


def test_a_killed_server_costs_no_event_and_doubles_none(server):
    written = []

    def write():
        for n in range(1, 3000):
            try:
                server.add(A, event(n))
                written.append(n)
            except (OSError, Error, ValueError):
                return

    with follow(server, 'beginning', 'batch=10') as reader:
        for _ in range(3):
            thread = threading.Thread(target=write)
            thread.start()
            time.sleep(random.uniform(0.05, 0.2))
            server.kill()
            thread.join(PATIENCE)
            server.start()
        held = [int(json.loads(e[1][1])['rec_idx']) for e in server('XRANGE', A, '-', '+')]
        reader.until('all of it', lambda lines: len(numbers(lines)) >= len(held))
        # appendfsync no: the kernel still has what the process wrote.
        assert numbers(reader.lines) == held and len(held) >= len(written)
        assert not [x for x in reader.lines if x.endswith('reset')]


def test_a_stopped_server_is_left_and_found_again(server):
    server.add(A, event(1))
    with follow(server) as reader:
        reader.until('the first', lambda lines: numbers(lines) == [1])
        server.process.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        assert reader.end() == 0
        server.process.send_signal(signal.SIGCONT)
        assert reader.lines[-1] == end(1)
        assert time.monotonic() - begin < PATIENCE / 2


def test_a_deleted_stream_is_told_and_begins_anew(server):
    for i in range(3):
        server.add(A, event(i))
    with follow(server) as reader:
        reader.until('three', lambda lines: numbers(lines) == [0, 1, 2])
        server('DEL', A)
        reader.until('a reset', lambda lines: f'{A} fs-MDT0000 reset' in lines)
        server.add(A, event(7), '5-0')  # an id from before the ones that were read
        reader.until('the new one', lambda lines: numbers(lines) == [0, 1, 2, 7])
        assert [x for x in reader.lines if x.endswith('reset')] == [f'{A} fs-MDT0000 reset']


@pytest.mark.parametrize('ids', ['lower', 'higher'])
def test_a_stream_that_was_replaced_between_two_looks_is_told(server, ids):
    for i in range(3):
        server.add(A, event(i), f'100-{i}')
    with follow(server, 'beginning', 'discovery=300') as reader:
        reader.until('three', lambda lines: numbers(lines) == [0, 1, 2])
        server('MULTI')
        server('DEL', A)
        server.add(A, event(7), '5-0' if ids == 'lower' else '200-0')
        server('EXEC')
        if ids == 'higher' and b'entries-added' not in server('XINFO', 'STREAM', A):
            pytest.skip('this server does not count what was added')
        reader.until('a reset', lambda lines: f'{A} fs-MDT0000 reset' in lines)
        reader.until('the new one after it', lambda lines: lines[-1] != 'idle' or 7 in numbers(lines[lines.index(f'{A} fs-MDT0000 reset'):]))


def test_a_stream_that_was_trimmed_while_there_was_no_connection_is_read_again(server):
    """What was trimmed may have been a PURGED that this reader never saw."""
    for i in range(5):
        server.add(A, event(i))
    with follow(server) as f:
        f.n_lines(5)
        f.process.send_signal(signal.SIGSTOP)
        server.add(A, event(3, 'PURGED'))
        last = server.add(A, event(7))
        server('XTRIM', A, 'MINID', '=', last)
        server('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        f.process.send_signal(signal.SIGCONT)
        f.until('the reset and what is there', lambda lines: any(x.endswith('reset') for x in lines) and numbers(lines)[-1:] == [7])
        # Nothing was trimmed past it: nothing is told.
        n = len(of(f.lines))
        server('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        server.add(A, event(8))
        f.until('the next', lambda lines: numbers(lines)[-1:] == [8])
        assert len(of(f.lines)) == n + 1
        assert sum(x.endswith('reset') for x in f.lines) == 1


def test_a_server_that_lost_all_tells_resets(server):
    server.add(A, event(1))
    server.add(B, event(2))
    with follow(server) as reader:
        reader.until('both', lambda lines: sorted(numbers(lines)) == [1, 2])
        server.kill()
        server.forget()
        server.start()
        server.add(B, event(3), '9-0')
        reader.until('two resets and the new one', lambda lines: numbers(lines)[2:] == [3])
        assert sorted(x for x in reader.lines if x.endswith('reset')) == [f'{A} fs-MDT0000 reset', f'{B} fs-MDT0001 reset']


def test_bad_entries_are_counted_and_passed_over(server):
    server.add(A, event(1))
    server('XADD', A, '*', 'other', 'x')
    server('XADD', A, '*', 'other', 'x', 'data', json.dumps(event(2)), 'more', 'y')
    server.add(A, '{"event_type": "NEW", "cat_idx": 1')
    server.add(A, '[]')
    server.add(A, json.dumps(event(3)).replace('3', '"3"'))
    server.add(A, event(4, raw='x' * (1 << 20)))
    server.add(A, b'\xff\xfe')
    server.add(A, b'')
    server.add(A, event(5, kind='SOMETHING'))
    server.add(A, event(6, raw='x' * ((1 << 20) - 1000)))
    server('SET', f'{P}:text', 'x')
    server('LPUSH', f'{P}:list', 'x')
    server.add(f'{P}:', event(8))
    server.add(f'{P}x:fs-MDT0000', event(9))
    lines = once(server)
    assert numbers(lines) == [1, 2, 5, 6]
    assert lines[-1] == end(4, bad=7, foreign=3)


def test_a_key_that_becomes_another_type_stops_nothing(server):
    server.add(A, event(1))
    server.add(B, event(2))
    with follow(server, 'beginning', 'discovery=100000') as reader:
        reader.until('both', lambda lines: sorted(numbers(lines)) == [1, 2])
        server('MULTI')
        server('DEL', A)
        server('SET', A, 'x')
        server('EXEC')
        server.add(B, event(3))
        reader.until('the other goes on', lambda lines: 3 in numbers(lines))
        reader.until('a reset', lambda lines: f'{A} fs-MDT0000 reset' in lines)
        server.add(B, event(4))
        reader.until('the other still goes on', lambda lines: 4 in numbers(lines))
        assert 'error EPROTO' not in reader.lines


@pytest.mark.parametrize('prefix', ['a*b', 'a?[bc]', 'with space', 'back\\slash', 'a:b:c', 'é', '^-', 'a{b}'])
def test_prefixes_of_any_characters(server, prefix):
    server.add(f'{prefix}:fs-MDT0000', event(1))
    server.add(f'{prefix}:fs:more:colons', event(2))
    for other in ('aXb', 'aXb', 'a1b', 'with', 'backslash', 'a:b', 'a', 'b'):
        server.add(f'{other}:fs-MDT0000', event(3))
    with_nul = prefix.encode() + b':fs\0x'
    server('XADD', with_nul, '*', 'data', json.dumps(event(4)))
    p = subprocess.run([program('hsm-read'), server.url, prefix, 'once', 'infos'], stdout=subprocess.PIPE, timeout=PATIENCE)
    lines = p.stdout.decode().splitlines()
    assert lines[-1] == end(2, foreign=1)
    assert {x[len(prefix) + 1:].split(' ')[1] for x in lines if x.startswith(prefix)} == {'fs-MDT0000', 'fs:more:colons'}
    assert len([x for x in lines if x.startswith('info ')]) == 2


def test_once_ends_although_a_writer_goes_on(server):
    for i in range(2000):
        server.add(A, event(i))
    done = threading.Event()

    def write():
        n = 2000
        while not done.is_set():
            server.client.pipeline([('XADD', A, '*', 'data', json.dumps(event(n + i))) for i in range(50)])
            n += 50

    thread = threading.Thread(target=write)
    thread.start()
    try:
        lines = once(server, 'batch=3')
    finally:
        done.set()
        thread.join(PATIENCE)
    found = numbers(lines)
    assert found == list(range(len(found))) and len(found) >= 2000
    assert len(found) <= server('XLEN', A)


def test_once_ends_at_streams_that_were_emptied_or_lost_their_last(server):
    ids = [server.add(A, event(i)) for i in range(5)]
    server('XDEL', A, ids[-1])
    server.add(B, event(9))
    server('XTRIM', B, 'MAXLEN', '0')
    server('XGROUP', 'CREATE', f'{P}:never', 'g', '$', 'MKSTREAM')
    lines = once(server, 'batch=2', 'infos')
    assert numbers(lines) == [0, 1, 2, 3] and lines[-1] == end(4)
    infos = dict(x.split(' ', 2)[1:] for x in lines if x.startswith('info '))
    assert infos[A] == f'fs-MDT0000 4 {ids[0]} {ids[-1]}'
    assert infos[B].startswith('fs-MDT0001 0 0-0 ') and infos[f'{P}:never'] == 'never 0 0-0 0-0'


def test_nothing_only_finds_the_streams(server):
    server.add(A, event(1))
    lines = once(server, 'infos', start='nothing')
    assert len(lines) == 2 and lines[0].startswith(f'info {A} fs-MDT0000 1 ') and lines[1] == end(0)


def test_once_without_streams_ends(server):
    assert once(server, 'infos') == [end(0)]


def test_a_place_that_was_kept_is_where_it_goes_on(server):
    ids = [server.add(A, event(i)) for i in range(5)]
    server.add(B, event(10))
    assert sorted(numbers(once(server, f'seek={A}@{ids[2]}'))) == [3, 4, 10]
    assert numbers(once(server, f'seek={A}@{ids[4]}'), A) == []
    with follow(server, 'now', f'seek={A}@{ids[2]}') as reader:
        reader.until('what follows the place', lambda lines: numbers(lines) == [3, 4])
    # Kept in a stream that is another now, and in one that is not there.
    lines = once(server, f'seek={A}@{1 << 60}-0', f'seek={P}:gone@1-1')
    assert f'{A} fs-MDT0000 reset' in lines and f'{P}:gone gone reset' in lines
    assert numbers(lines, A) == [0, 1, 2, 3, 4]


def test_no_server_and_no_permission_are_told_and_tried_again(server, tmp_path):
    server('CONFIG', 'SET', 'requirepass', 'secret')
    with follow(server) as reader:
        reader.until('refused', lambda lines: 'error EACCES' in lines)
        server.kill()
        reader.until('not there', lambda lines: 'error ENOTCONN' in lines)
        server.start()
        server.add(A, event(1))
        reader.until('there again', lambda lines: numbers(lines) == [1])
        assert 'secret' not in ''.join(reader.errors)


def test_a_user_that_may_not_read_is_told(server):
    server.add(A, event(1))
    server('ACL', 'SETUSER', 'weak', 'on', '>w', '~*', '+@all', '-xread')
    url = server.url.replace('unix://', 'unix://weak:w@')
    with Follower(program('hsm-read'), url, P, 'beginning') as reader:
        reader.until('refused', lambda lines: 'error EACCES' in lines)
        server('ACL', 'SETUSER', 'weak', '+xread')
        reader.until('allowed', lambda lines: numbers(lines) == [1])


def test_many_streams_at_once(server):
    keys = [f'{P}:fs-MDT{i:04x}' for i in range(150)]
    server.client.pipeline([('XADD', k, '*', 'data', json.dumps(event(i))) for i in range(30) for k in keys])
    lines = once(server)
    assert lines[-1] == end(30 * 150)
    for k in keys[::30]:
        assert numbers(lines, k) == list(range(30))


@pytest.mark.skipif(SANITIZED, reason='a sanitizer keeps what is freed')
def test_memory_does_not_follow_the_stream(server):
    big = json.dumps(event(1, raw='x' * 500000))
    server.client.pipeline([('XADD', A, '*', 'data', big)] * 400)
    with Follower(program('hsm-read'), server.url, P, 'beginning', 'count') as reader:
        reader.until('idle', lambda lines: 'idle' in lines)
        with open(f'/proc/{reader.process.pid}/status') as f:
            peak = [int(x.split()[1]) for x in f if x.startswith('VmHWM')][0]
        assert reader.end() == 0 and reader.lines[-1] == end(400)
    # 200 MB are in the stream.
    assert peak < 60 * 1024, peak
