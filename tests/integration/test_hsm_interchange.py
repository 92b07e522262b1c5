# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Our shipper and statistics with those of the documented system, in Python, on the same streams. HSM_PYTHON_SRC names the folder with its package
lustre_hsm_action_stream; HSM_PYTHON an interpreter that has redis and yaml (this one).
"""
import json
import os
import subprocess
import sys

import pytest

from harness import BUILD, free_port
from hsm_place import Place, line, snapshots

SOURCE = os.environ.get('HSM_PYTHON_SRC')
pytestmark = pytest.mark.skipif(not SOURCE, reason='HSM_PYTHON_SRC is not set')


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.server.kill()
    place.port = free_port()
    place.server.start(place.port)
    yield place
    place.close()


def config(place, host):
    return place.config(host, redis_url=None, redis_host='127.0.0.1', redis_port=place.port, redis_db=1, redis_stream_prefix='hsm:actions',
                        reconcile_interval=3600, trim_chunk_size=1000, use_approximate_trimming=False)


def theirs(place, part, *words, host='py'):
    code = f'import sys; sys.argv[0] = "x"; from lustre_hsm_action_stream.{part} import main; main()'
    done = subprocess.run([os.environ.get('HSM_PYTHON', sys.executable), '-c', code, '-c', config(place, host), *words], capture_output=True,
                          text=True, env=dict(os.environ, PYTHONPATH=SOURCE))
    assert done.returncode == 0, done.stderr
    return done.stdout


def ours(place, program, *words, host='py'):
    done = subprocess.run([BUILD / program, '-c', config(place, host), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def same_statistics(place):
    a, b = json.loads(theirs(place, 'stats')), json.loads(ours(place, 'hsm-stream-stats'))
    for part in a, b:
        del part['summary']['oldest_live_action_age_seconds']
        for stream in part['streams']:
            del stream['newest_entry_age_seconds']
    assert a == b
    return b


def both_hosts(place, lines):
    place.write(lines, host='py')
    place.write(lines, host='mds1')


def test_their_statistics_of_our_streams_are_ours(place):
    for lines in snapshots():
        place.write(lines, host='py')
        ours(place, 'hsm-action-shipper', '--run-once')
        assert same_statistics(place)['summary']['total_live_actions'] == len(lines)
    place.write([], host='py')
    ours(place, 'hsm-action-shipper', '--run-once')
    assert same_statistics(place)['summary']['total_live_actions'] == 0


def test_our_statistics_of_their_streams_are_theirs(place):
    for lines in snapshots():
        place.write(lines, host='py')
        theirs(place, 'shipper', '--run-once')
        assert same_statistics(place)['summary']['total_live_actions'] == len(lines)


def test_our_shipper_goes_on_where_theirs_was(place):
    lines = [line(i) for i in range(30)]
    both_hosts(place, lines)
    theirs(place, 'shipper', '--run-once')
    n = len(place.events())
    ours(place, 'hsm-action-shipper', '--run-once', host='mds1')
    assert len(place.events()) == n
    both_hosts(place, lines[5:] + [line(1, status='FAILED'), line(50)])
    ours(place, 'hsm-action-shipper', '--run-once', host='mds1')
    # Line 1 changed, four others of the first five went, one came.
    assert len(place.events()) == n + 1 + 4 + 1
    place.is_live(lines[5:] + [line(1, status='FAILED'), line(50)])
    assert same_statistics(place)['summary']['total_live_actions'] == 27


def test_their_maintenance_finds_nothing_wrong_in_our_stream(place):
    lines = [line(i) for i in range(30)]
    both_hosts(place, lines)
    ours(place, 'hsm-action-shipper', '--run-once', host='mds1')
    both_hosts(place, lines[10:])
    ours(place, 'hsm-action-shipper', '--run-once', host='mds1')
    n = len(place.events())
    theirs(place, 'shipper', '--maintenance-now')
    # It has no cache, so it ships its twenty again. Of ours it purges none.
    events = [e for _, e in place.events()]
    assert len(events) == n + 20
    assert sum(e['event_type'] == 'PURGED' for e in events) == 10
    assert same_statistics(place)['summary']['total_live_actions'] == 20
    before = len(events)
    ours(place, 'hsm-action-shipper', '--run-once', host='mds1')
    assert len(place.events()) == before


def test_an_orphan_of_their_maintenance_is_forgotten_by_all(place):
    """Theirs purges by the key alone, without an index, and their own statistics keep counting the orphan."""
    both_hosts(place, [line(1), line(2)])
    theirs(place, 'shipper', '--run-once')
    place.cache('py').unlink()
    both_hosts(place, [line(2)])
    theirs(place, 'shipper', '--maintenance-now')
    assert json.loads(ours(place, 'hsm-stream-stats'))['summary']['total_live_actions'] == 1
    n = len(place.events())
    ours(place, 'hsm-action-shipper', '--run-once', host='mds1')
    assert len(place.events()) == n
