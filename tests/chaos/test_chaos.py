# SPDX-License-Identifier: LGPL-2.1-or-later
"""The quick form: each kind of fault, on campaigns of 30,000 files. The long form is tests/chaos/run --rounds N."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

RUN = pathlib.Path(__file__).resolve().with_name('run')
SKIPPED = 77

ROUNDS = {
    'processes that die': 'kill-leader,kill-server,kill-follower,kill-new-leader,cut-aof,kill-all',
    'processes that stop': 'stop-leader,stop-host,stop-follower,slow-server',
    'a network that is cut': 'cut-leader,deaf,cut-follower,mute',
    'a shared folder that cannot be written': 'fill,read-only,freeze',
    'clocks that are minutes apart': 'skew,kill-leader,kill-follower,kill-leader,kill-server,kill-leader',
}


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """All rounds in one run, on one lab. $DROVER_SEED repeats one."""
    path = tmp_path_factory.mktemp('chaos') / 'results.json'
    words = [sys.executable, RUN, '--verbose', '--overlap', '0', '--results', path]
    for kinds in ROUNDS.values():
        words += ['--only', kinds]
    if os.environ.get('DROVER_SEED'):
        words += ['--seed', os.environ['DROVER_SEED']]
    r = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       errors='replace')
    print(r.stdout)
    if r.returncode == SKIPPED:
        pytest.skip(r.stdout.strip().splitlines()[-1])
    found = json.loads(path.read_text()) if path.exists() else []
    assert len(found) == len(ROUNDS), f'exit status {r.returncode}: {r.stdout[-3000:]}'
    return found


@pytest.mark.parametrize('name', ROUNDS)
def test_nothing_is_lost_by(results, name):
    result = results[list(ROUNDS).index(name)]
    print(result['line'])
    assert result['violations'] == [], '\n'.join([result['line'], *[f'{k}: {t}' for k, t in result['violations']]])
