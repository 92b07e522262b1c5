# SPDX-License-Identifier: LGPL-2.1-or-later
"""A proof is worth what its witnesses see: each is shown what must not be, and must say so."""
import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import types

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'integration')]
import harness  # noqa: E402
import watch  # noqa: E402

F_OFD_SETLK = 37


@pytest.fixture
def violations():
    found = watch.Violations()
    found.say = lambda text: None
    return found


def kinds(violations):
    return [kind for kind, _ in violations.found]


@pytest.fixture
def servers(tmp_path):
    """start(epoch, lock) runs a redis-server as the leader of that epoch would, with the lock's descriptor or not."""
    if os.geteuid() != 0 or not shutil.which('redis-server'):
        pytest.skip('root and a redis-server are needed')
    processes = []

    def start(epoch, lock=None):
        folder = tmp_path / f'epoch-{epoch}'
        folder.mkdir()
        port = harness.free_port()
        processes.append(subprocess.Popen(['redis-server', '--bind', '127.0.0.1', '--port', str(port), '--save', '',
                                           '--requirepass', f'secret{epoch}'], cwd=folder, stdin=subprocess.DEVNULL,
                                          stdout=subprocess.DEVNULL, pass_fds=[lock] if lock is not None else []))
        (tmp_path / 'secret').write_text(f'secret{epoch}\n{epoch}\n')
        return processes[-1]
    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def lock(tmp_path):
    fd = os.open(tmp_path / 'leader.lock', os.O_RDWR | os.O_CREAT)
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    yield fd
    os.close(fd)


def accepts(witness, epoch):
    def look():
        witness.tick()
        return witness.now and witness.now[0].epoch == epoch
    harness.until(f'a write in epoch {epoch}', look, 20)


def test_a_server_with_the_lock_is_no_violation(tmp_path, violations, servers, lock):
    witness = watch.WriteWatch(tmp_path, violations)
    servers(1, lock)
    accepts(witness, 1)
    assert violations.found == [] and witness.accepted > 0
    assert [e for e, _, _ in witness.epochs] == [1]
    witness.close_logs()


def test_a_server_without_the_lock_is_seen(tmp_path, violations, servers):
    witness = watch.WriteWatch(tmp_path, violations)
    (tmp_path / 'leader.lock').touch()
    servers(1)
    accepts(witness, 1)
    assert 'lock' in kinds(violations)
    witness.close_logs()


def test_two_writers_are_seen(tmp_path, violations, servers, lock):
    """Also when the older one keeps its own password, and was announced long ago."""
    witness = watch.WriteWatch(tmp_path, violations)
    old = servers(1, lock)
    accepts(witness, 1)
    servers(2, lock)
    accepts(witness, 2)
    assert 'two-writers' in kinds(violations)
    before = len(violations.found)
    old.kill()
    old.wait()
    witness.tick()
    assert len(violations.found) == before
    witness.close_logs()


def status(epoch, discovered, succeeded, unneeded=0):
    return {'epoch': epoch,
            'progress': {'discovered': discovered, 'succeeded': succeeded, 'unneeded': unneeded, 'gone': 0}}


@pytest.fixture
def sampler(tmp_path, violations):
    found = watch.Sampler(types.SimpleNamespace(violations=violations, dir=tmp_path, seed=1))
    yield found
    found.log.close()


def test_counts_that_fall_are_seen(sampler, violations):
    for now in (status(1, 10, 5), status(2, 10, 6), status(2, 10, 6)):
        sampler._compare(now)
    assert violations.found == []
    sampler._compare(status(3, 10, 5))
    assert kinds(violations) == ['lost'] and 'succeeded' in violations.found[0][1]


def test_an_epoch_that_falls_is_seen(sampler, violations):
    sampler._compare(status(3, 10, 5))
    sampler._compare(status(2, 10, 5))
    assert kinds(violations) == ['lost']


def test_counts_may_fall_once_when_their_file_was_cut(sampler, violations):
    sampler._compare(status(3, 10, 5))
    sampler.cut_epoch = 3
    sampler._compare(status(4, 8, 2))
    assert violations.found == []
    sampler._compare(status(5, 8, 1))
    assert kinds(violations) == ['lost']
