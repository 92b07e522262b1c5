# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the books and the last word must survive: each of these went wrong once."""
import os
import signal
import subprocess

from harness import until


def test_a_busy_file_that_is_renamed_is_found_again_before_the_end(site):
    """The retry finds its old name gone; the scan before took its new name for the leftover that it was."""
    site.configure(retry_delays='2')
    site.make(4)
    site.lab('fill', '--files', 60, '--size', '1-4K')
    held = [site.ns / os.fsdecode(n) for n in sorted(site.names_on(0))[:5]]
    fds = [os.open(path, os.O_WRONLY) for path in held]
    site.start(osts='0')
    site.daemon()
    until('the second scan is over', lambda: site.status()['round'] == 1 and site.progress()['skipped'] == 5
          and site.status()['scan']['pending'] + site.status()['scan']['active'] == 0)
    for path in held:
        path.rename(path.with_name(path.name + '.1'))
    for fd in fds:
        os.close(fd)
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['gone'] == 5 and progress['skipped'] == 0


def test_a_graceful_stop_makes_no_file_count_twice(site):
    """A file with two names is moved by one and unneeded by the other, however often daemons come and go."""
    site.configure(scan_batch_size=50, migration_workers=2)
    site.make(4)
    site.only_on([0], 4, lambda: site.lab('fill', '--files', 120, '--size', '4K'))
    for name in sorted(site.names_on(0)):
        path = site.ns / os.fsdecode(name)
        os.link(path, path.with_name('link-' + path.name))
    site.set('1-3', 'slow', latency_ms=5)
    site.start(osts='0')
    for _ in range(4):
        daemon = site.daemon()
        until('some are moved', lambda: site.progress()['in_progress'] > 0 or site.state() == 'completed')
        daemon.terminate()
        daemon.ended()
    site.set('1-3', 'up')
    site.daemon()
    progress = site.assert_moved(osts=(0,))['progress']
    # A name that the scan met after the file had moved was never a candidate.
    assert progress['succeeded'] == 120 and progress['unneeded'] == progress['discovered'] - 120
    assert progress['bytes_succeeded'] == 120 * 4096


def test_a_command_given_while_the_server_is_silent_is_heard_when_it_speaks_again(site):
    site.configure(migration_workers=1)
    site.make(4)
    site.only_on([0], 4, lambda: site.lab('fill', '--files', 300, '--size', '4K'))
    site.set('1-3', 'slow', latency_ms=30)
    site.start(osts='0')
    daemon = site.daemon()
    until('it moves', lambda: site.progress()['succeeded'] > 0)
    children = subprocess.run(['pgrep', '-P', str(daemon.process.pid)], stdout=subprocess.PIPE, text=True).stdout.split()
    for child in children:
        os.kill(int(child), signal.SIGSTOP)
    try:
        site.drover('pause', '--no-wait', 'evac')
    finally:
        for child in children:
            os.kill(int(child), signal.SIGCONT)
    until('it is paused', lambda: site.state() == 'paused', 15)
    site.set('1-3', 'up')
    site.drover('resume', 'evac')
    site.assert_moved(osts=(0,))


def test_a_dead_daemon_leaves_the_list_of_workers(site):
    site.make(4)
    site.only_on([0], 4, lambda: site.lab('fill', '--files', 300, '--size', '4K'))
    site.set('1-3', 'slow', latency_ms=30)
    site.start(osts='0')
    site.daemon()
    until('one works', lambda: len(site.status()['workers']) == 1)
    second = site.daemon()
    until('two work', lambda: len(site.status()['workers']) == 2)
    second.kill()
    until('one is forgotten', lambda: len(site.status()['workers']) == 1, 10)
    site.set('1-3', 'up')
    site.assert_moved(osts=(0,))


def test_a_follower_that_is_run_in_the_foreground_knows_how_it_ended(site):
    """The leader writes the end while the follower is told of it."""
    site.make(4)
    site.only_on([0], 4, lambda: site.lab('fill', '--files', 1500, '--size', '4K'))
    site.set(0, 'down')
    site.start(osts='0')
    site.daemon()
    until('it leads', lambda: site.status()['live'])
    assert site.drover('run', 'evac', check=3).code == 3
