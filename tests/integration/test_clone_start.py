# SPDX-License-Identifier: LGPL-2.1-or-later
"""drover start clone: what is refused, in one clear line and with nothing made; what is made; what is recorded."""
import json
import os
import re
import shutil
import subprocess

import pytest

from harness import BUILD, ROOT, names_below, run

needs_root = pytest.mark.skipif(not ROOT, reason='mounts need root')


class Place:
    """Two trees, a configuration and campaigns; no lab and no daemon."""

    def __init__(self, folder):
        self.dir = folder
        self.src, self.dst, self.base, self.conf = folder / 'src', folder / 'dst', folder / 'base', folder / 'conf'
        self.src.mkdir()
        self.dst.mkdir()
        (self.src / 'file').write_text('data')
        (self.src / 'sub').mkdir()
        self.configure()

    def configure(self, **options):
        options = {'base_path': self.base, **options}
        self.conf.write_text('[main]\n' + ''.join(f'{k} = {v}\n' for k, v in options.items()))

    def drover(self, *args, check=0, **more):
        return run('drover', '--config', self.conf, *args, check=check, timeout=20, **more)

    def words(self, name='c', src=None, dst=None, *more):
        return ['start', 'clone', '--name', name, '--from', src or self.src, '--to', dst or self.dst, *more]

    def start(self, *more, name='c', src=None, dst=None, **kw):
        return self.drover(*self.words(name, src, dst, *more), **kw)

    def refused(self, *words, name='c', src=None, dst=None, more=(), args=None, **kw):
        """Without a trace, but in the error: each of the words stands there."""
        def made():
            return names_below(self.base), names_below(self.src), names_below(self.dst)
        before = made()
        result = self.drover(*(args or self.words(name, src, dst, *more)), check=None, **kw)
        assert result.code == 2, result
        assert result.out == '', result
        assert result.err.count('\n') == 1 and result.err.endswith('\n'), result
        assert re.match(r'drover( start clone)?: ', result.err), result
        for word in words:
            assert re.search(word, result.err), f'{word!r} is not told: {result.err}'
        assert made() == before, f'something was made: {result}'
        return result

    def spec(self, name='c'):
        return json.loads((self.base / name / 'campaign.json').read_text())

    def records(self):
        return [json.loads(p.read_text()) for p in sorted(self.base.glob('.clones/*.json'))]

    def filled(self, **kw):
        """What a copying campaign leaves in the target: its record, and something in it."""
        self.start(name='filler', **kw)
        (self.dst / 'copied').write_text('x')


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


# --- words ----------------------------------------------------------------------------------------------------------

def test_words_that_are_missing(place):
    place.refused('--name', args=['start', 'clone', '--from', place.src, '--to', place.dst])
    place.refused('--from', args=['start', 'clone', '--name', 'c', '--to', place.dst])
    place.refused('--to', args=['start', 'clone', '--name', 'c', '--from', place.src])
    place.refused('bogus', more=['--bogus'])
    place.refused('extra', more=['extra'])
    place.refused('name', name='../c')


@pytest.mark.parametrize('words', [
    ['--pass', 'move'], ['--pass', ''], ['--pass', 'copy,'], ['--pass', 'copy', '--pass', 'x'],
    ['--oldest', 'old'], ['--oldest', '-1'], ['--newest', '5y'], ['--newest', ''],
    ['--min-size', 'big'], ['--max-size', '-1'], ['--max-size', '99E'],
    ['--owner', 'nobody-has-this-name'], ['--owner', ''], ['--owner', '0,,1'], ['--owner', '5-2'], ['--owner', '4294967295'],
    ['--group', 'no group'], ['--project', 'root'], ['--project', '1-'],
    ['--released', 'drop'], ['--max-delete', ''], ['--max-delete', '%'], ['--max-delete', '101%'], ['--max-delete', '-1'],
    ['--max-delete', '1.5%'], ['--max-delete', '99999999999999999999']], ids=' '.join)
def test_a_word_that_makes_no_sense(place, words):
    place.refused(words[-2], more=words)


def test_words_that_do_not_go_together(place):
    place.refused('verify', more=['--pass', 'verify,copy'])
    place.refused('verify', more=['--pass', 'all', '--pass', 'verify'])
    place.refused('--manifest', 'verify', more=['--manifest'])
    place.refused('--max-size', more=['--min-size', '2M', '--max-size', '1M'])


def test_files_that_come_along(place):
    place.refused('--exceptions', 'missing', more=['--exceptions', place.dir / 'missing'])
    place.refused('--layout', 'missing', more=['--layout', place.dir / 'missing'])
    bad = place.dir / 'bad'
    bad.write_text('fine\n../up\n')
    place.refused('--exceptions', 'bad:2', more=['--exceptions', bad])
    bad.write_text('not a size -c 1\n')
    place.refused('--layout', 'bad:1', more=['--layout', bad])
    # Hosts that work with a server of the site's own need not share the folder.
    place.configure(redis_url='redis://127.0.0.1:1/0')
    place.refused('--exceptions', 'folder', 'redis_url', more=['--exceptions', bad])
    place.refused('--layout', 'folder', 'redis_url', more=['--layout', bad])


def test_excludes_that_make_no_sense(place):
    place.refused('--exclude-path', 'below', more=['--exclude-path', '/usr'])
    place.refused('--exclude-path', 'below', more=['--exclude-path', place.dst])
    place.refused('--exclude-path', 'nothing is left', more=['--exclude-path', place.src])
    place.refused('--exclude-path', more=['--exclude-path', '../x'])
    place.refused('--exclude-path', more=['--exclude-path', ''])


# --- the two trees --------------------------------------------------------------------------------------------------

def test_trees_that_are_not_there(place):
    place.refused('--from', 'nothing', src=place.dir / 'nothing')
    place.refused('--to', 'nothing', dst=place.dir / 'nothing')
    place.refused('--to', 'no', dst=place.dir / 'no' / 'parent')
    place.refused('--from', 'file', src=place.src / 'file')
    place.refused('--to', 'file', dst=place.src / 'file')
    assert not place.base.exists()


def test_trees_that_hold_each_other(place):
    inner = place.src / 'sub' / 'deep'
    inner.mkdir()
    link = place.dir / 'link'
    link.symlink_to(inner)
    place.refused('same directory', dst=place.src)
    place.refused('same directory', dst=f'{place.src}/sub/../')
    place.refused('inside', dst=inner)
    place.refused('inside', dst=link)
    place.refused('inside', src=inner, dst=place.src)
    place.refused('inside', src=link, dst=place.src)
    place.refused('inside', src='/', dst=place.dst)


def test_trees_whose_names_only_begin_alike(place):
    beside = place.dir / 'src-new'
    beside.mkdir()
    place.start(dst=beside)


def test_a_target_that_holds_something(place):
    (place.dst / 'mine').write_text('x')
    place.refused('not empty', '--merge')
    place.refused('not empty', '--merge', more=['--pass', 'dirtimes'])
    place.refused('not empty', '--merge', more=['--dry-run'])
    place.refused('copy pass', more=['--pass', 'delete', '--merge'])
    place.start('--pass', 'verify', name='looks')
    assert place.records() == []
    place.start('--merge')
    # Nobody said that what was there before shall go.
    assert place.spec()['clone']['passes'] == ['copy', 'dirtimes']
    assert place.records()[0]['merged'] is True
    place.refused('--merge', 'before', name='d', more=['--pass', 'delete'])
    result = place.start('--pass', 'delete', '--merge', name='d')
    assert 'warning' in result.err and str(place.dst) in result.err


def test_a_new_file_system_with_lost_and_found_is_empty(place):
    (place.dst / 'lost+found').mkdir()
    place.start()


def test_a_target_that_this_source_filled(place):
    place.filled()
    before = names_below(place.dst), names_below(place.src)
    place.start(name='again')
    place.start('--pass', 'delete', name='prune')
    place.start('--pass', 'copy,dirtimes', name='more')
    record, = place.records()
    assert [s['campaign'] for s in record['sources']] == ['more']
    assert record['merged'] is False
    assert record['to'] == str(place.dst) and record['sources'][0]['from'] == str(place.src)
    assert before == (names_below(place.dst), names_below(place.src))
    # By another name it is the same source, and the same target.
    link = place.dir / 'link'
    link.symlink_to(place.src)
    place.start(name='by-link', src=link)


def test_a_target_that_another_source_filled(place):
    other = place.dir / 'other'
    other.mkdir()
    place.filled()
    both = [re.escape(str(place.src)), re.escape(str(other)), 'filler']
    place.refused(*both, src=other)
    place.refused(*both, src=other, more=['--pass', 'delete'])
    place.refused(*both, src=other, more=['--pass', 'delete', '--merge'])
    place.refused(*both, src=other, more=['--pass', 'all', '--merge'])
    place.start('--merge', name='two', src=other)
    assert len(place.records()[0]['sources']) == 2
    # Now neither of them may delete what the other one copied.
    place.refused('not only', src=other, more=['--pass', 'delete'])
    place.refused('not only', more=['--pass', 'delete', '--merge'])


def test_a_delete_pass_wants_to_know_who_filled_the_target(place):
    place.refused('no campaign known', more=['--pass', 'delete'])
    place.start('--dry-run', name='dry')
    assert place.records() == []
    place.refused('no campaign known', more=['--pass', 'delete'])


def test_a_source_that_was_made_anew(place):
    place.filled()
    shutil.move(place.src, place.dir / 'old')
    place.src.mkdir()
    place.refused('another directory', more=['--pass', 'delete'])
    place.refused('another directory')


def test_a_target_that_was_emptied_is_as_good_as_new(place):
    place.filled()
    (place.dst / 'copied').unlink()
    other = place.dir / 'other'
    other.mkdir()
    place.start(name='new', src=other)
    record, = place.records()
    assert [s['campaign'] for s in record['sources']] == ['new']


def test_a_record_that_cannot_be_read(place):
    place.filled()
    file, = place.base.glob('.clones/*.json')
    file.write_text('{')
    place.refused('damaged', more=['--pass', 'delete'])
    place.refused('damaged')


def test_the_campaigns_folder_in_one_of_the_trees(place):
    place.configure(base_path=place.dst / 'base')
    place.refused('base_path', '--to')
    place.configure(base_path=place.src / 'deep' / 'base')
    place.refused('base_path', '--from', '--exclude-path')
    (place.src / 'deep').mkdir()
    place.base = place.src / 'deep' / 'base'
    place.start('--exclude-path', place.src / 'deep')


def test_a_lab_as_one_of_the_trees(place):
    lab = place.dir / 'lab'
    run('drover-lab', 'create', lab, '--osts', 2)
    place.refused('--from', 'lab', src=lab / 'ns')
    place.refused('--to', 'lab', dst=lab / 'ns')


def test_a_name_that_is_taken(place):
    place.start()
    place.refused('exists', 'c')


def test_what_is_told_is_escaped(place):
    odd = os.fsencode(place.dir) + b'/\xff\n\033[31m'
    result = place.refused(src=odd)
    assert '\033' not in result.err
    os.mkdir(odd)
    result = place.start(src=odd)
    assert '\033' not in result.out
    assert place.spec()['clone']['from'].endswith('/\\xff\\n\\x1b[31m')
    result = place.drover('status', 'c')
    assert '\\xff\\n\\x1b[31m -> ' in result.out


# --- what is made ---------------------------------------------------------------------------------------------------

def test_the_spec_holds_what_was_said(place):
    exceptions, rules = place.dir / 'exceptions', place.dir / 'rules'
    exceptions.write_text('a/b\n# none\nc\n')
    rules.write_text('1M -c 1\n- -c 4\n')
    place.start('--pass', 'dirtimes,copy', '--oldest', '90d', '--newest', '12h', '--min-size', '1K', '--max-size', '1G',
                '--owner', 'root,1000-1999', '--owner', '70000', '--group', '0', '--project', '5', '--exceptions', exceptions,
                '--exclude-path', place.src / 'sub', '--exclude-path', '.snapshot', '--layout', rules, '--released', 'stub',
                '--max-delete', '10%', '--checksum', '--dry-run')
    spec = place.spec()
    assert spec['kind'] == 'clone' and spec['dry_run'] is True and spec['osts'] == ''
    assert spec['scan_paths'] == [''] and spec['fs_root'] == str(place.src)
    assert spec['exclude_paths'] == ['sub'] and spec['exclude_names'] == ['.snapshot']
    clone = spec['clone']
    assert (clone['from'], clone['to']) == (str(place.src), str(place.dst))
    assert clone['passes'] == ['copy', 'dirtimes']
    assert (clone['oldest_s'], clone['newest_s']) == (90 * 86400, 12 * 3600)
    assert (clone['min_size'], clone['max_size']) == (1024, 1 << 30)
    assert (clone['uids'], clone['gids'], clone['projects']) == ('0,1000-1999,70000', '0', '5')
    assert clone['exceptions'] == 2 and clone['layout'] == 'rules' and clone['released'] == 'stub'
    assert clone['max_delete'] == {'percent': 10} and clone['checksum'] is True
    assert (place.base / 'c' / 'exceptions').read_text() == exceptions.read_text()
    assert (place.base / 'c' / 'layout').read_text() == rules.read_text()


def test_what_is_taken_when_nothing_is_said(place):
    result = place.start()
    assert 'copy, delete, dirtimes' in result.out and 'droverd' in result.out
    clone = place.spec()['clone']
    assert clone['passes'] == ['copy', 'delete', 'dirtimes']
    assert (clone['layout'], clone['released'], clone['max_delete']) == ('keep', 'skip', None)
    assert sorted(os.listdir(place.base / 'c')) == ['campaign.json', 'logs', 'requests']
    assert os.listdir(place.dst) == []
    status = json.loads(place.drover('status', 'c', '--json').out)
    assert (status['kind'], status['from'], status['to']) == ('clone', str(place.src), str(place.dst))
    assert status['passes'] == ['copy', 'delete', 'dirtimes']
    listed, = json.loads(place.drover('list', '--json').out)
    assert listed['kind'] == 'clone' and listed['to'] == str(place.dst)
    assert f'{place.src} -> {place.dst}' in place.drover('list').out
    assert f'Clone: {place.src} -> {place.dst}' in place.drover('report', 'c').out
    place.drover('reopen', 'c', '--yes', check=2)


# --- mounts: in a name space of their own ---------------------------------------------------------------------------

def in_mounts(place, *lines):
    """Runs shell lines with mounts that end with them; $drover NAME SRC DST... starts a clone."""
    script = f'''
        set -e
        cd '{place.dir}'
        start() {{ name=$1 src=$2 dst=$3; shift 3
            '{BUILD}/drover' --config conf start clone --name "$name" --from "$src" --to "$dst" "$@"; }}
        refused() {{ what=$1; shift
            if start c "$@" >out 2>err; then echo "not refused: $*"; exit 1; fi
            grep -Eq "$what" err || {{ echo "not told '$what': $(cat err)"; exit 1; }}
            [ "$(wc -l <err)" = 1 ] || {{ cat err; exit 1; }}
            [ ! -e base ] || [ ! -e base/c ]; }}
    ''' + '\n'.join(lines)
    p = subprocess.run(['unshare', '-m', '--propagation', 'private', 'sh', '-c', script], capture_output=True, text=True,
                       timeout=60)
    assert p.returncode == 0, p.stdout + p.stderr
    return p


@needs_root
def test_trees_that_hold_each_other_by_a_bind_mount(place):
    in_mounts(place,
              'mkdir same inner src/sub/deep dst/in',
              'mount --bind src same', 'mount --bind src/sub inner',
              "refused 'same directory' src same", "refused 'same directory' same src",
              "refused inside src inner", "refused inside inner src",
              "refused inside src inner/deep", "refused inside inner/deep same",
              # One tree is mounted in the other: whoever follows it walks in a circle.
              'mkdir src/loop', 'mount --bind dst src/loop',
              "refused loop src dst", "refused inside src src/loop",
              'umount src/loop', 'rmdir src/loop', 'mount --bind src dst/in',
              "refused loop src dst --merge")


@needs_root
def test_a_file_system_that_is_mounted_twice(place):
    in_mounts(place,
              'mkdir one two', 'mount -t tmpfs none one', 'mkdir -p one/a/b one/c',
              'mount --bind one/a two',
              "refused inside one two", "refused inside one two/b", "refused inside two one/a/b",
              'start ok two one/c')


@needs_root
def test_a_target_without_room(place):
    in_mounts(place,
              'mkdir big small few', 'mount -t tmpfs -o size=16m none big', 'head -c 8M /dev/zero >big/data',
              'mount -t tmpfs -o size=4m none small',
              "refused 'room for 4.0 MiB' big small",
              'mkdir big/part', 'start part big/part small',
              # A part of the tree may well fit.
              'start some big small --merge --max-size 1M',
              'mount -t tmpfs -o nr_inodes=10 none few', 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do : >big/$i; done',
              "refused inodes big few",
              'umount small', 'mount -t tmpfs -o size=64k none small', 'mkdir small/d', 'head -c 1M /dev/zero >small/x || :',
              "refused 'no free space' src small/d",
              # Nothing is copied by these.
              'start looks src small/d --pass verify')


@needs_root
def test_a_target_that_is_mounted_read_only(place):
    in_mounts(place,
              'mount -t tmpfs none dst', 'mount -o remount,ro dst',
              "refused read-only src dst",
              'start dry src dst --dry-run', 'start looks src dst --pass verify')


@needs_root
def test_a_target_that_is_nearly_full_is_told(place):
    p = in_mounts(place,
                  'mount -t tmpfs -o size=1m none dst', 'head -c 1020k /dev/zero >dst/x',
                  'start c src dst --merge')
    assert 'nearly full' in p.stderr


@needs_root
def test_a_target_that_another_file_system_took_the_place_of(place):
    """The record is of the directory, not of its name."""
    place.filled()
    in_mounts(place,
              'mount -t tmpfs none dst', ': >dst/x',
              "refused 'not empty' src dst", "refused 'no campaign known' src dst --pass delete")
