# SPDX-License-Identifier: LGPL-2.1-or-later
"""hsm-action-shipper: what it puts into the streams, and what stops it (nothing)."""
import contextlib
import json
import os
import signal
import socket
import subprocess

import pytest

import hsm
from harness import until
from hsm_place import SHIPPER, Place, Proxy, ended_within, line, snapshots


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.close()


def test_real_snapshots_become_the_events_that_happened(place):
    """What a real MDT listed while a copytool archived, restored, cancelled and removed."""
    expected = [
        ['NEW 1/1 ARCHIVE WAITING'],
        ['NEW 1/2 CANCEL WAITING'],
        ['UPDATE 1/1 ARCHIVE CANCELED', 'UPDATE 1/2 CANCEL SUCCEED', 'NEW 1/3 ARCHIVE STARTED', 'NEW 1/4 ARCHIVE STARTED',
         'NEW 1/5 ARCHIVE STARTED', 'NEW 1/6 ARCHIVE WAITING', 'NEW 1/7 ARCHIVE WAITING'],
        ['UPDATE 1/4 ARCHIVE FAILED'],
        ['UPDATE 1/3 ARCHIVE SUCCEED', 'UPDATE 1/5 ARCHIVE SUCCEED', 'UPDATE 1/6 ARCHIVE SUCCEED', 'UPDATE 1/7 ARCHIVE SUCCEED'],
        ['NEW 1/8 RESTORE STARTED'],
        ['UPDATE 1/8 RESTORE SUCCEED'],
        ['NEW 1/9 RESTORE CANCELED', 'NEW 1/10 CANCEL SUCCEED'],
        ['NEW 1/11 REMOVE WAITING'],
        ['UPDATE 1/11 REMOVE SUCCEED'],
    ]
    n = 0
    for lines, events in zip(snapshots(), expected, strict=True):
        place.write(lines)
        place.run()
        assert place.brief(skip=n) == events
        place.is_live(lines)
        n += len(events)
    place.write([])
    place.run()
    assert sorted(place.brief(skip=n)) == sorted(f'PURGED 1/{i} {a} PURGED' for i, a in enumerate(
        'ARCHIVE CANCEL ARCHIVE ARCHIVE ARCHIVE ARCHIVE ARCHIVE RESTORE RESTORE CANCEL REMOVE'.split(), 1))
    place.is_live([])


def test_events_have_the_documented_fields_and_the_cookie(place):
    place.write([line(5)])
    place.run()
    place.write([])
    place.run()
    (_, new), (_, purged) = place.events()
    assert new.pop('timestamp') == new.pop('first_seen') > 1700000000
    assert new == {'cat_idx': 1, 'rec_idx': 5, 'fid': '0x200000402:0x5:0x0', 'action': 'ARCHIVE', 'status': 'WAITING',
                   'event_type': 'NEW', 'mdt': 'fs-MDT0000', 'raw': line(5), 'action_key': '0x200000402:0x5:0x0:ARCHIVE',
                   'cookie': '0x6b02b26d'}
    assert len(purged.pop('hash')) == 16
    assert isinstance(purged.pop('timestamp'), int)
    assert purged == {'event_type': 'PURGED', 'mdt': 'fs-MDT0000', 'cat_idx': 1, 'rec_idx': 5, 'status': 'PURGED',
                      'action_key': '0x200000402:0x5:0x0:ARCHIVE', 'action': 'ARCHIVE', 'fid': '0x200000402:0x5:0x0',
                      'cookie': '0x6b02b26d'}


def test_unchanged_files_ship_nothing(place):
    place.write([line(i) for i in range(100)])
    place.run()
    before = place.events()
    for _ in range(3):
        place.run()
    place.write([line(i) for i in reversed(range(100))])
    place.run()
    place.write([line(i) for i in range(100)], end='  \r\n')
    place.run()
    assert place.events() == before


def test_an_index_with_another_request_ships_purged_then_new(place):
    place.write([line(1), line(2)])
    place.run()
    # The same file again, by another request; and another file.
    changed = [line(1, cookie=0x777), line(2, fid='0x9:0x9:0x0')]
    place.write(changed)
    place.run()
    events = place.brief(skip=2)
    assert sorted(events[:2]) == ['PURGED 1/1 ARCHIVE PURGED', 'PURGED 1/2 ARCHIVE PURGED']
    assert events[2:] == ['NEW 1/1 ARCHIVE WAITING', 'NEW 1/2 ARCHIVE WAITING']
    place.is_live(changed)


def test_a_changed_dfid_status_or_flag_is_an_update(place):
    place.write([line(1, action='RESTORE')])
    place.run()
    place.write([line(1, action='RESTORE', dfid='0x200000403:0x1:0x0', status='STARTED', flags='0x4')])
    place.run()
    assert place.brief() == ['NEW 1/1 RESTORE WAITING', 'UPDATE 1/1 RESTORE STARTED']
    first, second = (e for _, e in place.events())
    assert first['first_seen'] == second['first_seen']


def test_a_request_made_again_is_purged_before_it_is_new(place):
    """Programs that know an action by FID and action alone would lose it otherwise."""
    place.write([line(1, fid='0xa', action='RESTORE')])
    place.run()
    place.write([line(2, fid='0xa', action='RESTORE')])
    place.run()
    assert place.brief(skip=1) == ['PURGED 1/1 RESTORE PURGED', 'NEW 1/2 RESTORE WAITING']


def test_a_missing_file_purges_nothing(place):
    lines = [line(i) for i in range(5)]
    place.write(lines)
    place.write([line(9)], mdt='fs-MDT0001')
    place.run()
    place.remove()
    log = place.run()
    assert 'mdt-missing mdt=fs-MDT0000' in log
    place.is_live(lines)
    place.is_live([line(9)], mdt='fs-MDT0001')
    # It is served again: what ended meanwhile is purged now.
    place.write(lines[2:])
    place.run()
    place.is_live(lines[2:])


def test_a_missing_file_purges_after_the_time_that_the_site_chose(place):
    place.write([line(1)])
    place.write([line(2)], mdt='fs-MDT0001')
    daemon = place.start(missing_purge_after=0.2)
    place.until_live([line(1)])
    place.remove()
    place.until_live([])
    place.is_live([line(2)], mdt='fs-MDT0001')
    assert ended_within(daemon) == 0


def test_a_file_that_cannot_be_read_purges_nothing(place):
    place.write([line(1)])
    place.run()
    place.remove()
    place.path().mkdir()
    assert 'file-unreadable' in place.run()
    place.is_live([line(1)])


def test_an_mdt_that_comes_over_from_another_server_ships_only_what_changed(place):
    lines = [line(i) for i in range(200)]
    place.write(lines)
    place.run(host='mds1')
    n = len(place.events())
    place.move('mds1', 'mds2')
    place.run(host='mds1')
    place.run(host='mds2')
    assert len(place.events()) == n
    changed = [line(i, status='SUCCEED') for i in range(50)] + lines[60:] + [line(300)]
    place.write(changed, host='mds2')
    place.run(host='mds2')
    place.is_live(changed)
    assert len(place.events()) == n + 50 + 10 + 1
    # And back, to a server whose cache is old.
    place.move('mds2', 'mds1')
    place.run(host='mds1')
    place.is_live(changed)
    assert len(place.events()) == n + 50 + 10 + 1


def test_two_shippers_that_see_the_same_mdt_double_nothing(place):
    place.write([], host='mds1')
    os.makedirs(place.path(host='mds2').parent)
    os.link(place.path(host='mds1'), place.path(host='mds2'))
    daemons = [place.start(host='mds1', poll_interval=0.001), place.start(host='mds2', poll_interval=0.001)]
    for turn in range(40):
        lines = [line(i, status='STARTED' if (i + turn) % 3 else 'WAITING', cookie=i + turn // 4) for i in range(turn % 7, 30)]
        place.write(lines)
        place.until_live(lines)
    assert [ended_within(d) for d in daemons] == [0, 0]
    place.is_live(lines)


@pytest.mark.parametrize('how', ['gone', 'empty', 'cut', 'turned', 'python', 'folder', 'version'])
def test_a_cache_that_is_no_good_costs_no_false_event(place, how):
    lines = [line(i) for i in range(50)]
    place.write(lines)
    place.run()
    before = place.events()
    cache = place.cache()
    good = cache.read_bytes()
    cache.unlink()
    if how == 'folder':
        cache.mkdir()
    elif how != 'gone':
        cache.write_bytes({'empty': b'', 'cut': good[:-20], 'turned': good[:30] + bytes([good[30] ^ 4]) + good[31:],
                           'python': b'{"fs-MDT0000:1:2": {"hash": "99170513ec7718e7221714d3f6126984"}}',
                           'version': good[:8] + b'\x09' + good[9:]}[how])
    place.run()
    assert place.events() == before
    place.write(lines[10:])
    place.run()
    place.is_live(lines[10:])
    assert len(place.events()) == len(before) + 10


def test_an_old_cache_costs_no_false_event(place):
    place.write([line(i) for i in range(50)])
    place.run()
    old = place.cache().read_bytes()
    place.write([line(i, status='STARTED') for i in range(20, 70)])
    place.run()
    before = place.events()
    place.cache().write_bytes(old)
    place.run()
    assert place.events() == before


@pytest.mark.parametrize('when', ['before', 'after'])
def test_a_connection_that_ends_at_the_wrong_moment_loses_and_doubles_nothing(place, tmp_path, when):
    """The server took the events or not, and the shipper does not know which."""
    proxy = Proxy(tmp_path, place.server.path)
    url = f'unix://{proxy.path}?db=1'
    # More than one batch.
    lines = [line(i) for i in range(2500)]
    place.write(lines)
    proxy.cut(b'EVALSHA', when)
    place.run(redis_url=url, code=1)
    assert proxy.n_cut == 1
    assert len(place.events()) == (1000 if when == 'after' else 0)
    place.run(redis_url=url)
    place.is_live(lines)
    # And in a process that goes on.
    daemon = place.start(redis_url=url)
    changed = [line(i, status='STARTED') for i in range(100, 1500)]
    proxy.cut(b'EVALSHA', when)
    place.write(changed)
    place.until_live(changed)
    assert proxy.n_cut == 2
    assert ended_within(daemon) == 0
    proxy.close()


def test_a_server_that_lost_everything_gets_everything(place):
    lines = [line(i) for i in range(20)]
    place.write(lines)
    daemon = place.start()
    place.until_live(lines)
    place.server('FLUSHALL')
    place.until_live(lines)
    assert all(text.startswith('NEW') for text in place.brief())
    place.server('DEL', place.key())
    place.server.add(place.key(), hsm.event(99))
    place.until_live(lines)
    assert ended_within(daemon) == 0


def test_it_connects_again_and_goes_on(place):
    place.write([line(1)])
    daemon = place.start()
    place.until_live([line(1)])
    place.server.kill()
    place.write([line(2)])
    until('it notices', lambda: 'server-lost' in place.log())
    place.server.start()
    place.until_live([line(2)])
    assert ended_within(daemon) == 0


def test_a_key_that_is_no_stream_stops_no_other(place):
    place.server('SET', place.key('fs-MDT0000'), 'x')
    place.write([line(1)])
    place.write([line(2)], mdt='fs-MDT0001')
    assert 'the key is no stream' in place.run()
    place.is_live([line(2)], mdt='fs-MDT0001')
    place.server('DEL', place.key())
    place.run()
    place.is_live([line(1)])


def test_entries_that_are_no_events_are_passed_over(place):
    place.write([line(1)])
    place.run()
    key = place.key()
    for fields in (('other', 'x'), ('data', 'not json'), ('data', '[]'), ('data', '{"mdt":"m","cat_idx":1,"rec_idx":1}'),
                   ('data', '{"event_type":"NEW","cat_idx":"1","rec_idx":1}'), ('data', b'\xff\x00'), ('data', 'x' * 2000000)):
        place.server('XADD', key, '*', *fields)
    place.write([line(1, status='STARTED'), line(2)])
    log = place.run()
    assert 'bad-entry' in log
    entries = place.server('XRANGE', key, '-', '+')
    assert len(entries) == 1 + 7 + 2
    assert [json.loads(fields[1])['event_type'] for _, fields in entries[-2:]] == ['UPDATE', 'NEW']


GOOD = line(1)
BAD = {
    'no idx': b'fid=[0x1:0x2:0x3] action=ARCHIVE status=WAITING',
    'no fid': b'lrh=[type=10680000 len=136 idx=1/7] action=ARCHIVE status=WAITING',
    'cut off': line(8)[:70].encode(),
    'a NUL': line(9).encode().replace(b'action', b'a\0ction'),
    'not UTF-8': line(10).encode().replace(b'ARCHIVE', b'AR\xffHIVE'),
    'too long': line(11).encode() + b' x=' + b'y' * (1 << 20),
    'other': b'some other kernel message',
    'twice': line(1, status='FAILED').encode(),
}


@pytest.mark.parametrize('what', BAD)
def test_a_bad_line_is_counted_told_and_passed_over(place, what):
    place.write(GOOD.encode() + b'\n' + BAD[what] + b'\n\n \n' + line(2).encode() + b'\n')
    log = place.run()
    place.is_live([GOOD, line(2)])
    assert 'bad-line mdt=fs-MDT0000' in log
    assert 'bad-lines mdt=fs-MDT0000 n=1 of=3' in log
    assert len(log) < 3000
    place.run()
    assert len(place.events()) == 2


def test_a_last_line_without_a_newline_counts_when_it_is_whole(place):
    text = f'{line(1)}\n{line(2)}'.encode()
    place.write(text)
    place.run()
    place.is_live([line(1), line(2)])
    place.write(f'{line(3)}\nidx=4/4 fid=0xa action=ARCHIVE status=STARTED'.encode())
    place.run()
    place.is_live([line(3), 'idx=4/4 fid=0xa action=ARCHIVE status=STARTED'])


def test_a_file_that_ends_within_a_line_purges_nothing(place):
    lines = [line(1), line(2), line(3)]
    place.write(lines)
    place.run()
    whole = ''.join(x + '\n' for x in [line(1, status='STARTED'), *lines[1:]]).encode()
    for cut in (len(line(1)) + 60, len(whole) - 30):
        place.write(whole[:cut])
        place.run()
        assert len(place.live()) == 3
    place.write(whole[:len(whole) // 3 + 1])
    place.run()


def stopped_while_it_reads(place, path):
    """A shipper that has the file open, and does not go on. None: it was too quick."""
    process = subprocess.Popen([SHIPPER, '-c', place.config(), '--run-once'], stderr=subprocess.PIPE, text=True)
    fds = f'/proc/{process.pid}/fd'
    while process.poll() is None:
        with contextlib.suppress(OSError):
            if any(os.readlink(f'{fds}/{fd}') == str(path) for fd in os.listdir(fds)):
                process.send_signal(signal.SIGSTOP)
                until('it stops', lambda: open(f'/proc/{process.pid}/stat').read().rsplit(') ', 1)[1][0] in 'TZ')
                if any(os.readlink(f'{fds}/{fd}') == str(path) for fd in os.listdir(fds)):
                    return process
                process.send_signal(signal.SIGCONT)
    process.communicate()
    return None


def test_a_file_that_changes_while_it_is_read_purges_nothing(place):
    lines = [line(i) for i in range(60000)]
    place.write(lines)
    place.run()
    place.write(lines[:-5] + [line(77777)])
    process = until('it is met while it reads', lambda: stopped_while_it_reads(place, place.path()))
    os.utime(place.path())
    process.send_signal(signal.SIGCONT)
    log = process.communicate()[1]
    assert 'file-changed' in log
    place.is_live([*lines, line(77777)])
    place.run()
    place.is_live([*lines[:-5], line(77777)])


# ---- maintenance ----

def test_an_orphan_is_purged_with_its_index(place):
    place.write([line(1)])
    place.run()
    place.server.add(place.key(), hsm.event(55))
    place.run('--maintenance-now')
    orphan = [e for _, e in place.events() if e['rec_idx'] == 55 and e['event_type'] == 'PURGED']
    assert len(orphan) == 1
    assert orphan[0]['cat_idx'] == 1
    assert orphan[0]['source'] == 'maintenance'
    assert orphan[0]['action_key'] == '0x200000402:0x37:0x0:ARCHIVE'
    place.is_live([line(1)])


def test_live_actions_that_the_stream_lost_are_shipped_again(place):
    place.write([line(1), line(2)])
    place.run()
    place.server('XDEL', place.key(), place.events()[0][0])
    assert list(place.live()) == [(1, 2)]
    assert 'stream-differs' in place.run('--maintenance-now')
    place.is_live([line(1), line(2)])


@pytest.mark.parametrize('approximate', [True, False])
@pytest.mark.parametrize('chunk', [1, 1000, 100000])
def test_maintenance_trims_to_the_oldest_live_action(place, approximate, chunk):
    options = {'use_approximate_trimming': approximate, 'trim_chunk_size': chunk}
    for turn in range(12):
        place.write([line(turn * 1000 + i) for i in range(300)])
        place.run(**options)
    kept = [line(11000 + i) for i in range(150, 300)]
    place.write(kept)
    place.run(**options)
    n = len(place.events())
    log = place.run('--maintenance-now', **options)
    assert 'stream-trimmed' in log
    events = place.events()
    if approximate:
        assert 0 < len(events) < n / 4
    else:
        assert events[0][1]['rec_idx'] == 11150
        assert len(events) == 150 + 150
    live = {}
    for _, e in events:
        key = e['cat_idx'], e['rec_idx']
        live.pop(key, None) if e['event_type'] == 'PURGED' else live.__setitem__(key, e['raw'])
    assert sorted(live.values()) == sorted(kept)
    # And the shipper goes on where it was.
    place.write(kept[1:])
    place.run(**options)
    assert len(place.events()) == len(events) + 1


def test_maintenance_clears_a_stream_without_live_actions(place):
    place.write([line(i) for i in range(250)])
    place.run()
    place.write([])
    place.run('--maintenance-now')
    assert place.events() == []
    place.write([line(1)])
    place.run()
    place.is_live([line(1)])
    assert place.brief() == ['NEW 1/1 ARCHIVE WAITING']


def test_maintenance_leaves_alone_what_is_served_elsewhere(place):
    place.write([line(1)])
    place.run()
    place.remove()
    place.server.add(place.key(), hsm.event(55))
    place.run('--maintenance-now')
    assert len(place.events()) == 2


def test_maintenance_runs_beside_shipping(place):
    place.write([line(0)])
    daemon = place.start(reconcile_interval=0.05, use_approximate_trimming=False, poll_interval=0.01)
    for turn in range(1, 30):
        place.write([line(turn * 100 + i) for i in range(40)])
        place.server.add(place.key(), hsm.event(5))
        until('the new ones', lambda turn=turn: place.server('XLEN', place.key()) and
              any(e['rec_idx'] == turn * 100 + 39 for _, e in place.events()))
    until('it trims', lambda: place.server('XLEN', place.key()) <= 40 + 45)
    assert 'stream-trimmed' in place.log()
    assert ended_within(daemon) == 0


# ---- the process ----

def test_sigterm_ends_it_with_all_saved(place):
    place.write([line(i) for i in range(100)])
    daemon = place.start()
    place.until_live([line(i) for i in range(100)])
    assert ended_within(daemon, 5) == 0
    n = len(place.events())
    assert 'stream-replayed' not in place.run()
    assert len(place.events()) == n


def test_sigterm_ends_it_while_the_server_hangs(place):
    place.write([line(1)])
    daemon = place.start()
    place.until_live([line(1)])
    place.server.process.send_signal(signal.SIGSTOP)
    try:
        place.write([line(2)])
        assert ended_within(daemon, 10) == 0
    finally:
        place.server.process.send_signal(signal.SIGCONT)
    place.run()
    place.is_live([line(2)])


def test_sighup_reads_the_configuration_again(place):
    place.write([line(1)])
    daemon = place.start()
    place.until_live([line(1)])
    place.config(redis_stream_prefix='other:prefix', log_file=place.dir / 'new.log')
    daemon.send_signal(signal.SIGHUP)
    until('the other stream', lambda: place.server('XLEN', 'other:prefix:fs-MDT0000') == 1)
    until('the other log', lambda: 'polled mdt=fs-MDT0000' in (place.dir / 'new.log').read_text())
    # One that will not do changes nothing.
    (place.dir / 'mds1.yaml').write_text('redis_port: abc\n')
    daemon.send_signal(signal.SIGHUP)
    until('it says so', lambda: 'configuration-refused' in (place.dir / 'new.log').read_text())
    place.write([line(1), line(2)])
    until('it goes on', lambda: place.server('XLEN', 'other:prefix:fs-MDT0000') == 2)
    # A log file that was moved away is made again.
    place.config(redis_stream_prefix='other:prefix', log_file=place.dir / 'new.log')
    os.replace(place.dir / 'new.log', place.dir / 'old.log')
    daemon.send_signal(signal.SIGHUP)
    until('a new log', lambda: (place.dir / 'new.log').exists() and 'configuration-read' in (place.dir / 'new.log').read_text())
    assert ended_within(daemon) == 0


def test_it_tells_systemd(place):
    path = str(place.dir / 'n')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(1)
        place.write([line(1)])
        daemon = place.start(env=dict(os.environ, NOTIFY_SOCKET=path))
        said = []

        def hears(word):
            try:
                said.append(notify.recv(4096).decode())
            except TimeoutError:
                pass
            return any(word in text for text in said)

        if not daemon.poll() and b'libsystemd' in subprocess.run(['ldd', SHIPPER], capture_output=True).stdout:
            for word in ('READY=1', 'WATCHDOG=1', 'STATUS=1 MDTs here, 0 elsewhere, 1 live actions'):
                until(word, lambda word=word: hears(word))
            daemon.send_signal(signal.SIGTERM)
            until('STOPPING=1', lambda: hears('STOPPING=1'))
        assert ended_within(daemon) == 0


def test_run_once_without_a_server_fails_and_says_why(place):
    place.write([line(1)])
    log = place.run(redis_url=None, redis_host='127.0.0.1', redis_port=1, code=1)
    assert 'refused' in log
    assert 'hsm-action-shipper: ' in log


def test_configurations(place):
    def run(*words):
        done = subprocess.run([SHIPPER, *words], capture_output=True, text=True)
        return done.returncode, done.stderr

    assert run('-c', '/no/such.yaml', '--run-once') == (1, 'hsm-action-shipper: /no/such.yaml: No such file or directory\n')
    path = place.dir / 'x.yaml'
    path.write_text('poll_interval: soon\n')
    assert run('-c', path, '--run-once') == (1, f"hsm-action-shipper: {path}:1: poll_interval: 'soon' is not a number of seconds\n")
    assert run('--no-such-option')[0] == 2
    assert run('word')[0] == 2
    place.write([line(1)])
    log = place.run(colour='blue')
    assert 'unknown-key' in log
    place.is_live([line(1)])


def test_a_password_is_used_and_not_told(place):
    place.server('ACL', 'SETUSER', 'ship', 'on', '>sesame', '~hsm:actions:*', '+@stream', '+@scripting', '+@connection', '+info', '+role')
    place.write([line(1)])
    log = place.run(redis_url=f'unix://ship:sesame@{place.server.path}?db=1')
    place.is_live([line(1)])
    assert 'sesame' not in log
    log = place.run(redis_url=f'unix://ship:wrong@{place.server.path}?db=1', code=1)
    assert 'wrong' not in log.replace('WRONGPASS', '')


def test_a_server_whose_memory_is_full_is_waited_for(place):
    place.write([line(i) for i in range(100)])
    place.server('CONFIG', 'SET', 'maxmemory', '1')
    log = place.run(code=1)
    assert 'OOM' in log
    place.server('CONFIG', 'SET', 'maxmemory', '0')
    place.run()
    place.is_live([line(i) for i in range(100)])
