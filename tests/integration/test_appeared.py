# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counting the files that appear on the sources during the campaign: the proof that they were open."""
import os

from harness import until
from test_close import line_of


def appeared(site, name='evac'):
    return {s['ost']: s['files_appeared'] for s in site.status(name)['sources']}


def test_files_that_appear_on_an_open_source_are_counted_and_on_a_closed_one_there_are_none(site):
    site.make(4)
    site.only_on([0, 1], 4, lambda: site.lab('fill', '--files', 150, '--size', '4K'))
    site.set('1', 'closed')
    site.set('2-3', 'slow', latency_ms=20)
    site.start()
    # Made after the campaign, and met by its first scan.
    site.set('2-3', 'closed')
    site.lab('fill', '--files', 5, '--size', '4K')
    site.set('2-3', 'slow', latency_ms=20)
    site.daemon()
    until('the first scan is over', lambda: site.progress()['discovered'] == 155
          and site.status()['scan']['pending'] + site.status()['scan']['active'] == 0)
    assert appeared(site) == {0: 5, 1: 0}
    # Made behind its back, for a later one.
    known = set(site.names_on(0, 1))
    site.lab('fill', '--files', 12, '--size', '4K')
    new = len(set(site.names_on(0, 1)) - known)
    assert new > 0
    site.set('2-3', 'up')
    status = site.assert_moved()
    assert status['progress']['succeeded'] == 155 + new
    assert appeared(site) == {0: 5 + new, 1: 0}
    report = site.report()
    assert [o['files_appeared'] for o in report['osts']] == [5 + new, 0]
    out = site.drover('report', 'evac').out
    assert line_of(out, 'appeared during the campaign') == [f'{5 + new} files (it was open to new objects)', '0 files'], out


def test_a_file_that_appeared_counts_once_by_whatever_name_and_round_it_is_met(site):
    """With two names, busy over rounds and retries, and through the deaths of its finders."""
    site.configure(retry_delays='1,1')
    site.make(4)
    site.start(osts='0-1')
    site.set('2-3', 'closed')
    site.lab('fill', '--files', 12, '--size', '4K')
    site.set('2-3', 'up')
    names = sorted(site.names_on(0, 1))
    on = {o: len(site.names_on(o)) for o in (0, 1)}
    assert sum(on.values()) == 12
    for name in names[:4]:
        path = site.ns / os.fsdecode(name)
        os.link(path, path.with_name('second-' + path.name))
    fds = [os.open(site.ns / os.fsdecode(name), os.O_WRONLY) for name in names[2:6]]
    first = site.daemon()
    until('a second scan was made', lambda: site.status()['round'] >= 1)
    assert appeared(site) == on
    first.kill()
    for fd in fds:
        os.close(fd)
    site.daemon()
    site.assert_moved()
    assert appeared(site) == on


def test_a_striped_file_counts_for_each_source(site):
    site.make(4)
    site.tree.mkdir()
    (site.tree / 'wide').write_bytes(os.urandom(300000))
    site.start(osts='0-1', scan=[site.ns])
    site.lab('import', site.tree, '--stripe-count', 4, '--stripe-size', '64K')
    site.daemon()
    site.assert_moved()
    assert appeared(site) == {0: 1, 1: 1} and site.progress()['succeeded'] == 1


def test_what_appears_while_the_sources_are_being_closed_counts_and_afterwards_nothing_does(site):
    site.make(4)
    site.only_on([0, 1], 4, lambda: site.lab('fill', '--files', 30, '--size', '4K'))
    site.configure(close_command=f'while [ ! -e {site.dir}/go ]; do sleep 0.05; done; : {{ost}}')
    site.start()
    site.daemon()
    until('all is moved', lambda: site.progress()['succeeded'] == 30)
    site.only_on([0], 4, lambda: site.lab('fill', '--files', 7, '--size', '4K'))
    (site.dir / 'go').touch()
    site.assert_moved()
    assert appeared(site) == {0: 7, 1: 0}
