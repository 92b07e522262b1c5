# SPDX-License-Identifier: LGPL-2.1-or-later
"""Closing the sources to new objects by command, and opening them again."""
import json
import os
import pty
import re
import subprocess
import time

import pytest

from harness import BUILD, run, until
from test_engine import engine, use  # noqa: F401


def script(site, name='close', state='closed', before='', after=''):
    """A command that closes (or opens) the OST and writes down that it did. @return its template"""
    path = site.dir / name
    path.write_text(f'''index=$1 ost=$2 fsname=$3
echo "begin $index $ost $fsname" >>{site.dir}/{name}.log
{before}
{BUILD}/drover-lab set {site.lab_dir} --ost $index --state {state} || exit
{after}
echo "end $index" >>{site.dir}/{name}.log
''')
    return f'sh {path} {{index}} {{ost}} {{fsname}}'


def runs(site, name='close', what='begin'):
    """For which OSTs the command began or ended, in the order of the indices."""
    try:
        lines = (site.dir / f'{name}.log').read_text().splitlines()
    except FileNotFoundError:
        return []
    return sorted(int(line.split()[1]) for line in lines if line.startswith(what))


def states(site):
    return {o['index']: o['state'] for o in site.df()['osts']}


def closing(site, name='evac'):
    """What status says of each source: {OST: ...}."""
    return {s['ost']: s['closing'] for s in site.status(name)['sources']}


def commands(site, name='evac'):
    return {ost: c and c['command'] for ost, c in closing(site, name).items()}


def closed(site, name='evac'):
    """What report says of each source."""
    return {o['ost']: o['closed_to_new_objects'] for o in site.report(name)['osts']}


def line_of(text, label):
    """The values of the report's lines with this label."""
    return [line.strip().removeprefix(label).strip() for line in text.splitlines() if line.strip().startswith(label)]


def slow_lab(site, files=200, latency_ms=30):
    """Files on OST 0 and 1 that take some seconds to move."""
    site.make(4)
    site.only_on([0, 1], 4, lambda: site.lab('fill', '--files', files, '--size', '4K'))
    site.set('2-3', 'slow', latency_ms=latency_ms)


def small_lab(site, files=30):
    site.make(4)
    site.only_on([0, 1], 4, lambda: site.lab('fill', '--files', files, '--size', '1-4K'))


def test_the_command_runs_once_for_each_source_though_the_leader_is_killed(site):
    slow_lab(site)
    site.configure(close_command=script(site))
    site.start()
    leader = site.daemon()
    until('both are closed', lambda: commands(site) == {0: 'succeeded', 1: 'succeeded'})
    assert states(site) == {0: 'closed', 1: 'closed', 2: 'slow', 3: 'slow'}
    site.daemon()
    site.running(workers=2)
    leader.kill()
    until('another leads', lambda: site.status()['epoch'] == 2)
    site.set('2-3', 'up')
    site.assert_moved()
    assert (site.dir / 'close.log').read_text().splitlines().count('begin 0 lab-OST0000 lab') == 1
    assert (site.dir / 'close.log').read_text().splitlines().count('begin 1 lab-OST0001 lab') == 1
    assert runs(site) == runs(site, what='end') == [0, 1]
    for source in site.status()['sources']:
        assert source['closing']['state_shows_it'] and source['closing']['ended_ms'] > 0, source
    out = site.drover('report', 'evac').out
    assert line_of(out, 'closed to new objects') == ['yes, by command and by its state'] * 2, out
    assert 'Not closed' not in site.drover('status', 'evac').out


def test_a_command_that_dies_with_its_leader_is_run_by_the_next_one(site):
    slow_lab(site)
    site.configure(close_command=script(site, before=f'[ $index = 0 ] || [ -e {site.dir}/go ] || sleep 30'))
    site.start()
    leader = site.daemon()
    until('one is closed, one is at it', lambda: commands(site)[0] == 'succeeded' and runs(site) == [0, 1])
    leader.kill()
    (site.dir / 'go').touch()
    site.daemon()
    until('both are closed', lambda: commands(site) == {0: 'succeeded', 1: 'succeeded'})
    assert runs(site) == [0, 1, 1] and runs(site, what='end') == [0, 1]
    site.set('2-3', 'up')
    site.assert_moved()
    assert runs(site) == [0, 1, 1]


def test_a_command_that_fails_stops_nothing_and_is_told(site):
    small_lab(site)
    site.configure(close_command=script(site, before='[ $index = 0 ] || { echo first; echo "no \\"route\\"\tto host" >&2; '
                                        'echo; exit 255; }'))
    site.start()
    daemon = site.daemon()
    site.assert_moved()
    assert runs(site) == [0, 1]
    assert daemon.log().count(' close-failed ') == 1 and 'exit status 255' in daemon.log()
    found = closed(site)
    assert found[0]['closed'] and found[0]['command'] == 'succeeded' and found[0]['state_shows_it']
    assert (found[1]['closed'], found[1]['command'], found[1]['result'], found[1]['last_line']) == \
        (False, 'failed', 'exit status 255', 'no "route"\\tto host')
    out = site.drover('report', 'evac').out
    assert line_of(out, 'closed to new objects') == ['yes, by command and by its state',
                                                     'no: exit status 255: no "route"\\tto host'], out
    out = site.drover('status', 'evac').out
    told = [line for line in out.splitlines() if line.startswith('Not closed')]
    assert len(told) == 1 and 'OST 1;' in told[0], out
    assert json.loads((site.base / 'evac' / 'status.json').read_text())['sources'][1]['closing']['command'] == 'failed'


def test_a_source_whose_command_failed_is_tried_again_by_the_next_leader(site):
    slow_lab(site)
    site.configure(close_command=script(site, before=f'[ $index = 0 ] || [ -e {site.dir}/go ] || exit 7'))
    site.start()
    leader = site.daemon()
    until('one failed', lambda: commands(site) == {0: 'succeeded', 1: 'failed'})
    time.sleep(2.5)
    assert runs(site) == [0, 1]
    (site.dir / 'go').touch()
    leader.kill()
    site.daemon()
    until('both are closed', lambda: commands(site) == {0: 'succeeded', 1: 'succeeded'})
    site.set('2-3', 'up')
    site.assert_moved()
    assert runs(site) == [0, 1, 1]


def test_a_command_that_hangs_is_ended_and_the_campaign_goes_on_meanwhile(site):
    small_lab(site)
    site.configure(close_timeout=2, close_command=script(site, before='[ $index = 1 ] || { echo waiting; sleep 31 & wait; }'))
    site.start()
    site.daemon()
    # The files move while the command hangs, but the end must wait for it.
    until('all is moved', lambda: site.progress()['succeeded'] == 30)
    status = site.status()
    assert status['state'] == 'running' and status['round'] == 0 and commands(site)[0] is None
    site.assert_moved()
    assert line_of(site.drover('report', 'evac').out, 'closed to new objects') == \
        ['no: timed out: waiting', 'yes, by command and by its state']
    sleepers = subprocess.run(['pgrep', '-f', '^sleep 31$'], stdout=subprocess.PIPE, text=True).stdout.split()
    assert sleepers == [], 'its process group was not killed'


def test_the_last_scans_come_after_the_closing(site):
    small_lab(site)
    site.configure(close_command=script(site, before=f'while [ ! -e {site.dir}/go ]; do sleep 0.05; done'))
    site.start()
    site.daemon()
    until('all is moved', lambda: site.progress()['succeeded'] == 30)
    site.only_on([0], 4, lambda: site.lab('fill', '--files', 7, '--size', '4K', '--dirs', 1))
    time.sleep(1)
    assert site.state() == 'running'
    (site.dir / 'go').touch()
    status = site.assert_moved()
    assert status['progress']['succeeded'] == 37


def test_a_dry_run_runs_no_command(site):
    small_lab(site)
    site.configure(close_command=script(site))
    site.start('by-start', dry_run=True)
    site.daemon('by-start')
    assert site.wait('by-start') == 0
    site.ended()
    site.start('by-daemon')
    site.daemon('by-daemon', '--dry-run')
    assert site.wait('by-daemon') == 0
    site.ended()
    assert runs(site) == [] and states(site)[0] == 'up'
    assert commands(site, 'by-start') == {0: None, 1: None}
    assert line_of(site.drover('report', 'by-daemon').out, 'closed to new objects') == ['not closed by drover'] * 2


def test_without_a_command_the_state_alone_is_told(site):
    small_lab(site)
    site.set('1', 'closed')
    site.start()
    site.daemon()
    site.assert_moved()
    assert closing(site) == {0: None, 1: None}
    assert line_of(site.drover('report', 'evac').out, 'closed to new objects') == ['not closed by drover', 'yes, by its state']


def test_a_state_that_never_shows_it_is_told(site):
    """As with max_create_count."""
    small_lab(site)
    site.configure(close_command='true {ost}')
    site.start()
    site.daemon()
    site.assert_moved()
    assert {c['state_shows_it'] for c in closing(site).values()} == {False}
    assert line_of(site.drover('report', 'evac').out, 'closed to new objects') == \
        ['yes, by command (its state does not show it)'] * 2


def test_a_state_that_shows_it_later_is_seen(site):
    slow_lab(site)
    site.configure(close_command='true {ost}')
    site.start()
    site.daemon()
    until('they ran', lambda: commands(site) == {0: 'succeeded', 1: 'succeeded'})
    site.set('1', 'closed')
    until('it is seen', lambda: [c['state_shows_it'] for c in closing(site).values()] == [False, True])
    site.set('2-3', 'up')
    site.assert_moved()


@pytest.mark.parametrize('template, told', [
    ('lctl set_param x', 'neither'), ('x {fsname}', 'neither'), ('x {ost} {host}', 'braces'), ('x ${ost}', "'\\$'"),
    ('x {index} ${HOME}', 'braces'), ('x {ost} ; y', 'comment'), ('x {ost} ' + 'y' * 200, 'longer')])
@pytest.mark.parametrize('key', ['close_command', 'open_command'])
def test_templates_that_make_no_sense(shared, key, template, told):
    conf = shared.dir / 'bad.conf'
    conf.write_text(f'[main]\nbase_path = {shared.base}\n{key} = {template}\n')
    for words in (['drover', '--config', conf, 'status', 'there'], ['droverd', '--config', conf, '--campaign', 'there']):
        result = run(*words, check=2)
        assert result.out == '' and result.err.count('\n') == 1 and re.search(told, result.err), result
        assert 'bad.conf:3' in result.err, result


@pytest.mark.parametrize('seconds', ['0', 'soon', '2d'])
def test_deadlines_that_are_none(shared, seconds):
    conf = shared.dir / 'bad.conf'
    conf.write_text(f'[main]\nbase_path = {shared.base}\nclose_timeout = {seconds}\n')
    result = run('drover', '--config', conf, 'status', 'there', check=2)
    assert result.err.count('\n') == 1 and 'close_timeout' in result.err


# --- reopen -----------------------------------------------------------------------------------------------------------

def reopen(site, check=0, words=('--yes',), **more):
    return site.drover('reopen', 'evac', *words, check=check, **more)


def reopen_refused(site, told, words=('--yes',)):
    result = reopen(site, 2, words)
    assert result.out == '' and result.err.count('\n') == 1 and told in result.err, result


def with_both(site, **more):
    site.configure(close_command=script(site), open_command=script(site, 'open', 'up', **more))


def test_reopen_runs_the_command_for_each_source(site):
    small_lab(site)
    site.configure(close_command=script(site))
    site.start()
    reopen_refused(site, 'open_command')
    with_both(site)
    site.daemon()
    site.assert_moved()
    assert states(site)[0] == 'closed'
    reopen_refused(site, 'nobody is there to ask', words=())
    assert runs(site, 'open') == [] and commands(site)[0] == 'succeeded'
    result = reopen(site)
    assert [line.split() for line in result.out.splitlines()] == \
        [['OST', '0', 'lab-OST0000', 'opened'], ['OST', '1', 'lab-OST0001', 'opened']] or \
        [line.split()[1] for line in result.out.splitlines()] == ['1', '0'], result
    assert states(site) == {0: 'up', 1: 'up', 2: 'up', 3: 'up'}
    assert runs(site, 'open') == [0, 1] and commands(site) == {0: 'reopened', 1: 'reopened'}
    assert line_of(site.drover('report', 'evac').out, 'closed to new objects') == ['no: reopened by command'] * 2
    assert not closed(site)[0]['closed']


def test_reopen_tells_what_failed(site):
    small_lab(site)
    with_both(site, before='[ $index = 0 ] || { echo "who are you?"; exit 3; }')
    site.start()
    site.daemon()
    site.assert_moved()
    result = reopen(site, 1)
    assert sorted(line.split(None, 3)[1:] for line in result.out.splitlines()) == \
        [['0', 'lab-OST0000', 'opened'], ['1', 'lab-OST0001', 'exit status 3: who are you?']], result
    assert result.err == 'drover: reopen: open_command failed for 1 of 2 OSTs\n'
    # It may be open or not: it counts as open.
    assert commands(site) == {0: 'reopened', 1: 'reopened'}
    assert line_of(site.drover('report', 'evac').out, 'closed to new objects') == \
        ['no: reopened by command', 'yes, by its state, though reopened by command']


def test_reopen_asks_on_a_terminal(site):
    small_lab(site)
    with_both(site)
    site.start()
    words = [os.fspath(BUILD / 'drover'), '--config', os.fspath(site.conf), 'reopen', 'evac']
    for answer, code, opened in ((b'n\n', 2, []), (b'y\n', 0, [0, 1])):
        ours, theirs = pty.openpty()
        with subprocess.Popen(words, stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as p:
            os.write(ours, answer)
            assert b'OST 0-1' in p.stderr.read() and p.wait(30) == code
        os.close(ours)
        os.close(theirs)
        assert runs(site, 'open') == opened


def test_reopen_is_refused_while_the_campaign_runs(site):
    slow_lab(site)
    with_both(site)
    site.start()
    assert reopen(site).out.count('opened') == 2  # created: nothing was closed, and nothing is wrong with it
    daemon = site.daemon()
    until('both are closed', lambda: commands(site) == {0: 'succeeded', 1: 'succeeded'})
    reopen_refused(site, 'is running')
    daemon.terminate()
    daemon.ended()
    reopen_refused(site, 'is running')
    assert runs(site, 'open') == [0, 1]
    # With a pause on its way no daemon goes on before it.
    site.drover('pause', 'evac')
    reopen(site)
    assert runs(site, 'open') == [0, 0, 1, 1] and states(site)[0] == 'up'
    assert commands(site) == {0: 'reopened', 1: 'reopened'}
    site.daemon()
    until('it is paused', lambda: site.status()['live'] and site.state() == 'paused')
    time.sleep(1.5)
    assert states(site)[0] == 'up' and runs(site) == [0, 1]
    site.drover('resume', 'evac')
    until('both are closed again', lambda: commands(site) == {0: 'succeeded', 1: 'succeeded'})
    assert runs(site) == [0, 0, 1, 1] and states(site)[0] == 'closed'
    site.set('2-3', 'up')
    site.assert_moved()


def test_reopen_of_a_paused_campaign_and_resume_close_again(site):
    slow_lab(site)
    with_both(site)
    site.start()
    site.daemon()
    until('both are closed', lambda: commands(site) == {0: 'succeeded', 1: 'succeeded'})
    site.drover('pause', 'evac')
    reopen(site)
    assert commands(site) == {0: 'reopened', 1: 'reopened'} and states(site)[1] == 'up'
    time.sleep(2)
    assert runs(site) == [0, 1]
    site.drover('resume', 'evac')
    site.set('2-3', 'up')
    site.assert_moved()
    assert runs(site) == [0, 0, 1, 1] and states(site)[0] == states(site)[1] == 'closed'


def test_reopen_waits_for_no_command_of_the_leader(site):
    slow_lab(site)
    with_both(site)
    site.configure(close_command=script(site, before=f'while [ ! -e {site.dir}/go ]; do sleep 0.05; done'))
    site.start()
    site.daemon()
    until('they are at it', lambda: runs(site) == [0, 1])
    site.drover('pause', 'evac')
    reopen_refused(site, 'close_command')
    (site.dir / 'go').touch()
    until('both are closed', lambda: commands(site) == {0: 'succeeded', 1: 'succeeded'})
    until('that is over', lambda: reopen(site, None).code == 0, 5, every=0.2)
    assert states(site)[0] == 'up'
    site.drover('resume', 'evac')
    site.set('2-3', 'up')
    site.assert_moved()
    assert states(site)[0] == 'closed'


def test_a_retry_after_reopen_closes_again(site):
    small_lab(site)
    with_both(site)
    site.set('0', 'down')
    site.start()
    site.daemon()
    assert site.wait() == 3
    site.ended()
    assert runs(site) == [0, 1]
    reopen(site)
    assert states(site)[0] == states(site)[1] == 'up'
    site.drover('retry-failed', 'evac')
    site.daemon()
    site.assert_moved()
    assert runs(site) == [0, 0, 1, 1] and states(site)[0] == states(site)[1] == 'closed'
    assert commands(site) == {0: 'succeeded', 1: 'succeeded'}


def test_a_retry_without_reopen_leaves_them_closed(site):
    small_lab(site)
    site.configure(close_command='true {ost}')
    site.set('0', 'down')
    site.start()
    site.daemon()
    assert site.wait() == 3
    site.ended()
    site.configure(close_command=script(site))
    site.set('0', 'up')
    site.drover('retry-failed', 'evac')
    site.daemon()
    site.assert_moved()
    assert runs(site) == []


def test_reprime_closes_again(site):
    slow_lab(site)
    with_both(site)
    site.start()
    site.daemon()
    until('both are closed', lambda: commands(site) == {0: 'succeeded', 1: 'succeeded'})
    site.drover('reprime', 'evac', '--yes')
    until('both were closed again', lambda: runs(site, what='end') == [0, 0, 1, 1])
    site.set('2-3', 'up')
    assert site.wait() == 0
    assert runs(site) == [0, 0, 1, 1]


def test_a_server_of_the_sites_own(site, engine):  # noqa: F811
    slow_lab(site)
    with_both(site)
    use(site, engine().url)
    site.start()
    leader = site.daemon()
    until('both are closed', lambda: commands(site) == {0: 'succeeded', 1: 'succeeded'})
    reopen_refused(site, 'is running')
    site.daemon()
    site.running(workers=2)
    leader.kill()
    until('another leads', lambda: site.status()['epoch'] == 2)
    site.set('2-3', 'up')
    site.assert_moved()
    assert runs(site) == [0, 1]
    reopen(site)
    assert states(site)[0] == 'up' and commands(site) == {0: 'reopened', 1: 'reopened'}
