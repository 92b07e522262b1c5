# SPDX-License-Identifier: LGPL-2.1-or-later
"""mover = lfs: files are moved by the site's own command; what it leaves behind decides, not what it says."""
import json
import os
import pathlib
import shutil
import stat
import time

import pytest

from harness import BUILD, MIB, escape, facts, make_files, run, until
from test_refusals import assert_refused

HELPER = BUILD.parent / 'tests' / 'integration' / 'lab-migrate'

# It stands for `lfs` in the PATH. What it does with a file is told in a folder, by the file's name; it writes down how it was called.
LFS = f'''#!/usr/bin/python3 -SE
import json, os, signal, sys, time
plan = os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0]))) + '/plan'
words = [os.fsencode(a) for a in sys.argv[1:]]
path = words[-1]
with open(plan + '/calls', 'a') as f:
    f.write(json.dumps([w.hex() for w in words] + [os.getpid()]) + '\\n')
with open(plan + '/plan.json') as f:
    plans = json.load(f)
does = plans.get(os.path.basename(path).hex(), plans['*'])
def move(*more):
    if os.spawnv(os.P_WAIT, {os.fspath(HELPER)!r}, ['lfs', *more, path]) != 0:
        sys.exit('the test cannot move the file')
def cut(keep_mtime):
    st = os.stat(path)
    os.truncate(path, st.st_size // 2)
    if keep_mtime:
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
def until_told():
    while not os.path.exists(plan + '/go'):
        time.sleep(0.01)
for word in does:
    if isinstance(word, int):
        print('error: lfs migrate: said for the test')
        print('first line of two', file=sys.stderr)
        sys.exit(word)
    elif word == 'move':
        os.execv({os.fspath(HELPER)!r}, ['lfs', path])
    elif word == 'moved':
        move()
    elif word == 'onto 1':
        move('-o', '1')
    elif word == 'cut':
        cut(True)
    elif word == 'cut and touch':
        cut(False)
    elif word == 'wait':
        until_told()
    elif word == 'deaf':
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif word == 'crash':
        os.kill(os.getpid(), signal.SIGSEGV)
    elif word == 'remove':
        os.unlink(path)
    elif word == 'rename folder':
        os.rename(os.path.dirname(path), os.path.dirname(path) + b'.away')
    elif word == 'replace':
        os.rename(path, path + b'.away')
        os.symlink(plans['target'], path)
    else:
        sys.exit('no such word: ' + word)
'''


class Lfs:
    """The command, and what it was called with."""

    def __init__(self, site, **options):
        self.site, self.plan = site, site.dir / 'plan'
        self.bin = site.dir / 'bin'
        assert HELPER.exists(), 'the whole build is needed, not the programs alone'
        self.plan.mkdir()
        self.bin.mkdir()
        (self.bin / 'lfs').write_text(LFS)
        (self.bin / 'lfs').chmod(0o755)
        self.env = dict(os.environ, PATH=f'{self.bin}:{os.environ["PATH"]}')
        self.does('move')
        site.configure(mover='lfs', **options)

    def does(self, *words, **more):
        """more: by name. A command that is being run reads the old plan or the new one, whole."""
        plans = {'*': words, **{os.fsencode(k).hex(): v for k, v in more.pop('names', {}).items()}, **more}
        (self.plan / 'new').write_text(json.dumps(plans))
        os.rename(self.plan / 'new', self.plan / 'plan.json')

    def calls(self):
        """[(words, pid)]"""
        try:
            lines = (self.plan / 'calls').read_text().splitlines()
        except FileNotFoundError:
            return []
        return [([bytes.fromhex(w) for w in line[:-1]], line[-1]) for line in map(json.loads, lines)]

    def paths(self):
        return [words[-1] for words, _ in self.calls()]

    def go(self):
        (self.plan / 'go').write_bytes(b'')

    def daemon(self, *args):
        return self.site.daemon('evac', *args, env=self.env)


def lives(pid):
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except OSError:
        return False


def files_on_0(site, n=6, osts=4, size=4000):
    """A lab with n files on OST 0 and nothing else, and a campaign to empty it."""
    site.make(osts)
    site.tree.mkdir()
    for i in range(n):
        (site.tree / f'file{i}').write_bytes(os.urandom(size + i))
    site.only_on([0], osts, lambda: site.lab('import', site.tree))
    site.start(osts='0')
    return [site.ns / f'file{i}' for i in range(n)]


def leftovers(site):
    return {os.path.basename(left['path']): (left['class'], left['step'], left['error'])
            for left in site.report('evac', '--all')['leftovers']}


def test_a_campaign_is_moved_by_the_command_alone(site):
    lfs = Lfs(site)
    make_files(site.tree, 200, sizes=(0, 40000), dirs=5)
    site.make(6)
    site.lab('import', site.tree, '--layout', 'mixed')
    expected = site.names_on(0, 1)
    before, digest = facts(site.ns, inode=True), site.digest()
    # Not closed to new objects, so a file may come to lie on the other source.
    site.set('0-1', 'closed')
    site.start()
    lfs.daemon()
    lfs.daemon()
    assert site.wait() == 3
    site.ended()
    # lfs migrate leaves mirrors stale: those files are not given to it.
    mirrored = leftovers(site)
    assert mirrored and set(mirrored.values()) == {('refused', 'command', 'EOPNOTSUPP')}
    moved = {p for p in expected if os.path.basename(os.fsdecode(p)) not in mirrored}
    assert site.progress()['succeeded'] == len(moved) > 20
    assert site.digest() == digest
    assert before == facts(site.ns, inode=True)
    # Each file once, by the words of the default and its own path.
    assert sorted(lfs.paths()) == sorted(os.fsencode(site.ns) + b'/' + p for p in moved)
    assert {tuple(words[:-1]) for words, _ in lfs.calls()} == {(b'migrate', b'-n')}
    logged = site.audit('evac', 'succeeded')
    assert len(logged) == len(moved) and all('layout="' in x and ' to="' in x and 'to=""' not in x for x in logged)
    # drover itself moves those too.
    site.configure(mover='native')
    site.drover('retry-failed', 'evac')
    site.daemon()
    progress = site.assert_moved()['progress']
    assert progress['succeeded'] == progress['discovered'] == len(expected)
    assert len(lfs.calls()) == len(moved)
    assert site.digest() == digest


NAMES = [b'new\nline', b'qu\'o"te', b'-n', b'--', b'\xff\xfe', b'$(touch x) `y` ; | & *', b' blanks ', b'back\\slash', b'a' * 255]


def test_names_arrive_as_one_argument_untouched(site):
    lfs = Lfs(site)
    site.make(3)
    site.tree.mkdir()
    folder = os.path.join(os.fsencode(site.tree), b'dir \xff\n\'')
    os.mkdir(folder)
    for name in NAMES:
        with open(os.path.join(folder, name), 'wb') as f:
            f.write(name)
    site.only_on([0], 3, lambda: site.lab('import', site.tree))
    digest = site.digest()
    site.start(osts='0')
    lfs.daemon()
    site.assert_moved(osts=(0,))
    where = os.fsencode(site.ns) + b'/dir \xff\n\'/'
    assert sorted(words for words, _ in lfs.calls()) == sorted([b'migrate', b'-n', where + name] for name in NAMES)
    assert site.digest() == digest
    assert set(site.audit_paths()) == {escape(b'dir \xff\n\'/' + name) for name in NAMES}


def test_the_words_of_the_configuration_come_first(site):
    lfs = Lfs(site, lfs_migrate_command='lfs "migrate" -n \'a b\' c\\ d')
    path, = files_on_0(site, 1)
    lfs.daemon()
    site.assert_moved(osts=(0,))
    assert lfs.calls()[0][0] == [b'migrate', b'-n', b'a b', b'c d', os.fsencode(path)]


def test_what_a_command_says_and_leaves_behind(site):
    """All its ways to end, in one campaign: the layout decides, then the exit status."""
    lfs = Lfs(site, lfs_migrate_timeout=2, retry_delays='')
    cases = {
        'file0': ([16], ('busy', 'command', 'EBUSY')),
        'file1': ([11], ('changed', 'command', 'EAGAIN')),
        'file2': ([26], ('refused', 'command', 'ETXTBSY')),
        'file3': ([1], ('refused', 'command', 'EPERM')),
        'file4': ([95], ('refused', 'command', 'EOPNOTSUPP')),
        'file5': ([28], ('no_space', 'command', 'ENOSPC')),
        'file6': ([5], ('failed', 'command', 'EIO')),
        'file7': ([2], ('failed', 'command', 'ENOENT')),
        'file8': ([127], ('failed', 'command', 'ENOEXEC')),
        'file9': ([200], ('failed', 'command', 'EPROTO')),
        'file10': (['crash'], ('failed', 'command', 'EINTR')),
        'file11': (['wait'], ('failed', 'command', 'ETIMEDOUT')),
        'file12': (['deaf', 'wait'], ('failed', 'command', 'ETIMEDOUT')),
        'file13': ([0], ('failed', 'swap', 'EREMOTEIO')),
        'file14': (['moved', 5], None),   # an exit status of no meaning
        'file15': (['moved', 'wait'], None),
        'file16': (['move'], None),
    }
    files_on_0(site, len(cases))
    before = facts(site.ns, inode=True)
    lfs.does('move', names={name: does for name, (does, _) in cases.items()})
    daemon = lfs.daemon()
    assert site.wait() == 3
    site.ended()
    assert leftovers(site) == {name: left for name, (_, left) in cases.items() if left}
    progress = site.progress()
    assert (progress['succeeded'], progress['skipped'], progress['failed']) == (3, 2, 12)
    assert facts(site.ns, inode=True) == before
    site.check()
    log = daemon.log()
    # The first failure is told with the command's last line; of the others at most a few.
    assert 'command-failed' in log and 'said="' in log
    assert 'said="error: lfs migrate: said for the test"' in log or 'said="first line of two"' in log
    assert 0 < log.count(' command-failed ') <= 3 and log.count(' command-not-run ') == 1
    assert log.count(' command-left-file-on-source ') == 1
    # In the end they are moved all the same.
    lfs.does('move')
    site.drover('retry-failed', 'evac')
    site.drover('retry-skipped', 'evac')
    lfs.daemon()
    site.assert_moved(osts=(0,))


def test_a_busy_file_is_tried_again_by_itself(site):
    lfs = Lfs(site, retry_delays='1,1,1,1,1,1,1,1')
    paths = files_on_0(site, 3)
    lfs.does('move', names={'file1': [16]})
    lfs.daemon()
    until('it was tried twice', lambda: lfs.paths().count(os.fsencode(paths[1])) >= 2)
    assert site.progress()['succeeded'] == 2
    lfs.does('move')
    assert site.assert_moved(osts=(0,))['progress']['succeeded'] == 3


def test_the_command_chooses_a_source_again(site):
    """Exit 0, and the file is on the other source now: as good as not moved, until the sources are closed."""
    lfs = Lfs(site)
    site.make(4)
    site.tree.mkdir()
    (site.tree / 'file').write_bytes(os.urandom(5000))
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    site.start(osts='0-1')
    lfs.does('onto 1')
    daemon = lfs.daemon()
    assert site.wait() == 3
    site.ended()
    assert leftovers(site) == {'file': ('failed', 'swap', 'EREMOTEIO')}
    assert len(site.objects_of(site.ns / 'file', 1)) == 1
    assert 'command-left-file-on-source' in daemon.log()
    site.set('0-1', 'closed')
    lfs.does('move')
    site.drover('retry-failed', 'evac')
    lfs.daemon()
    site.assert_moved()


def test_a_command_that_loses_data_does_not_succeed(site):
    """Half of the file is gone, its time is the old one, exit 0: what buffered migration did on failing OSTs."""
    lfs = Lfs(site)
    path, _ = files_on_0(site, 2)
    lfs.does('move', names={'file0': ['moved', 'cut']})
    daemon = lfs.daemon()
    assert site.wait() == 3
    site.ended()
    assert leftovers(site) == {'file0': ('failed', 'verify', 'EILSEQ')}
    line, = [x for x in daemon.log().splitlines() if ' size-differs-after-command ' in x]
    assert f'path="{path}"' in line and 'bytes_before=4000' in line and 'bytes_after=2000' in line
    # Being off the source does not make it right, however often it is tried, and by whomever.
    for mover in ('lfs', 'native'):
        site.configure(mover=mover)
        site.drover('retry-failed', 'evac')
        lfs.daemon()
        assert site.wait() == 3
        site.ended()
        assert leftovers(site) == {'file0': ('failed', 'verify', 'EILSEQ')}
        assert site.report()['osts'][0]['ready_to_remove'] is False
    assert lfs.paths().count(os.fsencode(path)) == 1
    # Restored under its name it is another file: nobody misses the old one.
    os.unlink(path)
    shutil.copy(site.tree / 'file0', path)
    site.drover('retry-failed', 'evac')
    lfs.daemon()
    assert site.wait() == 0
    assert site.progress()['gone'] == 1


def test_a_file_that_was_written_while_the_command_ran_is_changed(site):
    lfs = Lfs(site, retry_delays='')
    files_on_0(site, 2)
    lfs.does('move', names={'file0': ['moved', 'cut and touch']})
    daemon = lfs.daemon()
    assert site.wait() == 3
    site.ended()
    assert leftovers(site) == {'file0': ('changed', 'verify', 'EAGAIN')}
    assert 'size-differs-after-command' not in daemon.log() and 'written-during-command' in daemon.log()
    site.drover('retry-skipped', 'evac')
    lfs.daemon()
    assert site.wait() == 0
    assert site.progress()['unneeded'] == 1


def test_names_that_lead_elsewhere_are_not_followed(site):
    """A link in the place of a file before its turn is never given to the command; one that comes during it is gone."""
    lfs = Lfs(site, migration_workers=1)
    paths = files_on_0(site, 3)
    site.tree = site.dir / 'tree2'
    site.tree.mkdir()
    (site.tree / 'elsewhere').write_bytes(b'not of the campaign')
    site.set('0', 'closed')
    site.lab('import', site.tree)
    target = site.ns / 'elsewhere'
    layout = os.getxattr(target, 'user.lov')
    lfs.does('wait', 'move')
    daemon = lfs.daemon()
    until('the first is in hand', lambda: len(lfs.calls()) == 1)
    first = pathlib.Path(os.fsdecode(lfs.paths()[0]))
    second, third = [p for p in paths if p != first]
    os.rename(second, site.ns / 'second.away')
    os.symlink(target, second)
    lfs.does('move', names={third.name: ['replace']}, target=os.fspath(target))
    lfs.go()
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['gone'] == 2 and progress['succeeded'] == 3, progress
    assert os.fsencode(second) not in lfs.paths() and os.fsencode(target) not in lfs.paths()
    assert sorted(os.listdir(site.ns)) == sorted(
        ['elsewhere', 'second.away', third.name + '.away', *(p.name for p in paths)])
    assert os.getxattr(target, 'user.lov') == layout
    assert stat.S_ISLNK(os.lstat(second).st_mode)
    assert daemon.log().count(' moved-file-is-another ') == 1


def test_a_name_of_another_file_is_not_moved_for_it(site):
    lfs = Lfs(site, migration_workers=1)
    paths = files_on_0(site, 3)
    lfs.does('wait', 'move')
    lfs.daemon()
    until('the first is in hand', lambda: len(lfs.calls()) == 1)
    second, third = [p for p in paths if os.fsencode(p) != lfs.paths()[0]]
    os.rename(second, third)
    lfs.go()
    # Both names lead elsewhere; the next scan finds the one that is left.
    progress = site.assert_moved(osts=(0,))['progress']
    assert (progress['gone'], progress['succeeded']) == (2, 2), progress


def test_a_folder_that_becomes_a_link_is_not_followed(site):
    lfs = Lfs(site, migration_workers=1)
    site.make(4)
    for name in ('a', 'b'):
        (site.tree / name).mkdir(parents=True)
        (site.tree / name / 'file').write_bytes(os.urandom(3000))
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    site.start(osts='0')
    lfs.does('wait', 'move')
    lfs.daemon()
    until('the first is in hand', lambda: len(lfs.calls()) == 1)
    first = pathlib.Path(os.fsdecode(lfs.paths()[0])).parent
    other = site.ns / ({'a', 'b'} - {first.name}).pop()
    os.rename(other, site.ns / 'c')
    os.symlink('c', other)
    lfs.go()
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['gone'] == 1 and progress['succeeded'] == 2, progress
    assert sorted(lfs.paths()) == sorted([os.fsencode(first / 'file'), os.fsencode(site.ns / 'c' / 'file')])


def test_a_folder_that_goes_away_under_the_command_takes_its_file_along(site):
    """ENOENT, and the old path leads nowhere: gone. The next scan finds the file under its new path."""
    lfs = Lfs(site)
    site.make(4)
    (site.tree / 'a').mkdir(parents=True)
    (site.tree / 'a' / 'first').write_bytes(os.urandom(3000))
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    site.start(osts='0')
    lfs.does('rename folder', 2)
    lfs.daemon()
    until('it was renamed', (site.ns / 'a.away').exists)
    lfs.does('move')
    progress = site.assert_moved(osts=(0,))['progress']
    assert (progress['gone'], progress['succeeded'], progress['failed']) == (1, 1, 0), progress


def test_a_file_that_the_command_or_somebody_removes_is_gone(site):
    lfs = Lfs(site)
    files_on_0(site, 3)
    lfs.does('move', names={'file0': ['remove'], 'file1': ['remove', 2]})
    lfs.daemon()
    progress = site.assert_moved(osts=(0,))['progress']
    assert (progress['gone'], progress['succeeded']) == (2, 1)


def test_a_killed_daemon_takes_its_command_along(site):
    lfs = Lfs(site)
    paths = files_on_0(site, 1)
    digest = site.digest()
    lfs.does('deaf', 'wait')
    daemon = lfs.daemon()
    until('the command runs', lfs.calls)
    (_, pid), = lfs.calls()
    assert lives(pid)
    daemon.kill()
    until('the command is dead', lambda: not lives(pid), 5)
    lfs.does('move')
    lfs.daemon()
    assert site.assert_moved(osts=(0,))['progress']['succeeded'] == 1
    assert lfs.paths() == [os.fsencode(paths[0])] * 2
    assert site.digest() == digest


def test_a_file_moved_by_a_command_whose_daemon_died_counts_as_succeeded(site):
    lfs = Lfs(site)
    path, = files_on_0(site, 1)
    lfs.does('moved', 'wait')
    daemon = lfs.daemon()
    until('it is off the source', lambda: site.objects_of(path, 0) == [] and site.objects_of(path, 1, 2, 3))
    daemon.kill()
    lfs.daemon()
    progress = site.assert_moved(osts=(0,))['progress']
    assert (progress['succeeded'], progress['unneeded']) == (1, 0)


def test_a_daemon_that_is_told_to_end_lets_a_short_command_finish(site):
    lfs = Lfs(site, migration_workers=1)
    files_on_0(site, 4)
    lfs.does('wait', 'move')
    daemon = lfs.daemon()
    until('the command runs', lfs.calls)
    daemon.terminate()
    time.sleep(0.5)
    assert daemon.alive()
    lfs.go()
    assert daemon.ended(5) == 0
    assert len(lfs.calls()) == 1
    progress = site.progress()
    assert (progress['succeeded'], progress['pending'], progress['in_progress']) == (1, 3, 0)
    lfs.daemon()
    assert site.assert_moved(osts=(0,))['progress']['succeeded'] == 4


def test_a_daemon_that_is_told_to_end_kills_a_long_command_and_puts_the_file_back(site):
    lfs = Lfs(site, migration_workers=1)
    files_on_0(site, 2)
    digest = site.digest()
    lfs.does('deaf', 'wait')
    daemon = lfs.daemon()
    until('the command runs', lfs.calls)
    (_, pid), = lfs.calls()
    began = time.monotonic()
    daemon.terminate()
    assert daemon.ended(14) == 0
    assert 5 <= time.monotonic() - began, 'it had no grace'
    assert not lives(pid)
    progress = site.progress()
    assert (progress['pending'], progress['in_progress'], progress['failed']) == (2, 0, 0), progress
    assert site.audit('evac', 'failed') == []
    lfs.does('move')
    lfs.daemon()
    assert site.assert_moved(osts=(0,))['progress']['succeeded'] == 2
    assert site.digest() == digest


def test_a_pause_lets_the_command_finish(site):
    lfs = Lfs(site, migration_workers=1)
    files_on_0(site, 3)
    lfs.does('wait', 'move')
    lfs.daemon()
    until('the command runs', lfs.calls)
    site.drover('pause', 'evac', '--no-wait')
    time.sleep(1.5)  # the daemon hears of it with its next heartbeat
    lfs.go()
    until('nothing is in progress', lambda: site.progress()['in_progress'] == 0)
    assert len(lfs.calls()) == 1 and site.progress()['succeeded'] == 1
    site.drover('resume', 'evac')
    assert site.assert_moved(osts=(0,))['progress']['succeeded'] == 3


def test_a_dry_run_runs_no_command(site):
    lfs = Lfs(site)
    site.make(4)
    site.lab('fill', '--files', 30, '--size', '1-8K')
    expected, objects = site.names_on(0), site.objects(0, 1, 2, 3)
    site.start(osts='0', dry_run=True)
    (lfs.bin / 'lfs').unlink()  # it needs none, either
    site.daemon()
    assert site.wait() == 0
    assert site.progress()['succeeded'] == len(expected)
    assert lfs.calls() == [] and site.objects(0, 1, 2, 3) == objects


def test_a_file_released_before_its_turn_is_not_given_to_the_command(site):
    """It would be restored, only to be moved."""
    lfs = Lfs(site, migration_workers=1)
    paths = files_on_0(site, 3)
    lfs.does('wait', 'move')
    lfs.daemon()
    until('the first is in hand', lambda: len(lfs.calls()) == 1)
    released = next(p for p in paths if os.fsencode(p) != lfs.paths()[0])
    site.lab('release', released)
    lfs.go()
    assert site.wait() == 3
    assert leftovers(site) == {released.name: ('refused', 'layout', 'EOPNOTSUPP')}
    assert os.fsencode(released) not in lfs.paths()


def test_a_source_that_only_fails_is_set_aside(site):
    """A thousand in a row: the rest is not tried, for each may cost a time-out."""
    Lfs(site, lfs_migrate_command="sh -c 'exit 5'")
    site.make(3)
    site.only_on([0], 3, lambda: site.lab('fill', '--files', 1400, '--size', '1-8'))
    site.start(osts='0')
    site.daemon()
    assert site.wait() == 3
    reasons = {(r['step'], r['error']): r['files'] for r in site.report()['reasons']}
    assert set(reasons) == {('command', 'EIO'), ('aside', 'EIO')} and sum(reasons.values()) == 1400, reasons
    assert reasons['aside', 'EIO'] > 0


def test_an_older_configuration_moves_nothing_by_its_command(site):
    """A lustre-migrator.conf as it is: its command serves mover = lfs alone."""
    lfs = Lfs(site, lfs_migrate_command='lfs migrate -c 1 2>&1 | logger')
    site.configure(mover=None)
    files_on_0(site, 3)
    lfs.daemon()
    assert site.assert_moved(osts=(0,))['progress']['succeeded'] == 3
    assert lfs.calls() == []


def test_the_mover_of_the_command_line_goes_first(site):
    lfs = Lfs(site)
    files_on_0(site, 2)
    lfs.does(5)
    lfs.daemon('--mover', 'native')
    assert site.assert_moved(osts=(0,))['progress']['succeeded'] == 2
    assert lfs.calls() == []
    # And by `drover run`.
    site.configure(mover='native')
    lfs.does('move')
    site.set('0', 'closed')
    site.start('again', osts='1')
    n = len(site.names_on(1))
    site.drover('run', 'again', '--mover', 'lfs', env=lfs.env)
    assert len(lfs.calls()) == n


def test_a_long_path_is_refused_and_not_cut(site):
    lfs = Lfs(site)
    site.make(3)
    site.tree.mkdir()
    name = 'd' * 200
    fd = os.open(site.tree, os.O_RDONLY)
    for _ in range(22):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    file = os.open('file', os.O_WRONLY | os.O_CREAT, dir_fd=fd)
    os.write(file, b'far down')
    os.close(file)
    os.close(fd)
    site.only_on([0], 3, lambda: site.lab('import', site.tree))
    site.start(osts='0')
    lfs.daemon()
    assert site.wait() == 3
    site.ended()
    assert leftovers(site) == {'file': ('refused', 'command', 'ENAMETOOLONG')}
    assert lfs.calls() == []


@pytest.mark.parametrize('command, words', [
    ('no-such-program-here migrate -n', ['no-such-program-here', 'PATH']),
    ('/no/such/program', ['/no/such/program']),
    ('lfs migrate -n | cat', ['no shell']),
    ("''", ['no program']),
])
def test_a_command_that_cannot_be_run_is_told_at_the_start(site, command, words):
    lfs = Lfs(site, lfs_migrate_command=command)
    files_on_0(site, 1)
    result = run('droverd', '--config', site.conf, '--campaign', 'evac', check=None, timeout=20, env=lfs.env)
    assert_refused(site, result, 'lfs_migrate_command', *words)
    assert site.state() == 'created'


def test_a_command_that_vanishes_fails_its_files(site):
    lfs = Lfs(site, migration_workers=1)
    files_on_0(site, 3)
    lfs.does('wait', 'move')
    daemon = lfs.daemon()
    until('the command runs', lfs.calls)
    (lfs.bin / 'lfs').unlink()
    lfs.go()
    assert site.wait() == 3
    site.ended()
    assert set(leftovers(site).values()) == {('failed', 'command', 'ENOEXEC')} and site.progress()['failed'] == 2
    assert 'command-not-run' in daemon.log() and 'No such file' in daemon.log()


def test_a_large_file_is_moved_whole(site):
    lfs = Lfs(site)
    files_on_0(site, 1, size=9 * MIB)
    digest = site.digest()
    lfs.daemon()
    site.assert_moved(osts=(0,))
    assert site.digest() == digest
