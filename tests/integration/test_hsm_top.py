# SPDX-License-Identifier: LGPL-2.1-or-later
"""hsm-action-top: the plain frame, and the screen in a terminal that tmux plays, with a server that changes, hangs, dies and comes again."""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import uuid

import pytest
import redis

from harness import BUILD, free_port, run, until
from hsm_tools import Server, environment, event_of, fid_of

PROGRAM = 'hsm-action-top'
needs_tmux = pytest.mark.skipif(not shutil.which('tmux'), reason='no tmux here')


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.close()


class Terminal:
    """A program in a terminal."""

    def __init__(self, folder, args, w=80, h=24, env=''):
        self.socket = f'drover-{os.getpid()}-{uuid.uuid4().hex[:8]}'
        self.folder = folder
        command = ' '.join(shlex.quote(str(a)) for a in [BUILD / PROGRAM, *args])
        # The shell says how the program ended, and how it left the terminal.
        script = folder / 'run'
        script.write_text(f'trap : INT\nstty -a >{folder}/before\necho $$ >{folder}/shell\n'
                          f'{env} {command} 2>{folder}/stderr\n'
                          f'code=$?\nstty -a >{folder}/after\necho ended $code\nexec sleep 1000\n')
        self.tmux('-f', '/dev/null', 'new-session', '-d', '-x', w, '-y', h, '-s', 'top', f'LC_ALL=C.UTF-8 sh {script}')

    def tmux(self, *args):
        return subprocess.run(['tmux', '-L', self.socket, *map(str, args)], check=True, stdout=subprocess.PIPE,
                              env=environment()).stdout.decode()

    def screen(self):
        return self.tmux('capture-pane', '-p', '-t', 'top')

    def keys(self, *keys):
        self.tmux('send-keys', '-t', 'top', *keys)

    def shows(self, pattern):
        """The screen, when it matches."""
        seen = ['']

        def look():
            seen[0] = self.screen()
            return re.search(pattern, seen[0], re.M)
        try:
            until(f'the screen shows {pattern!r}', look, every=0.05)
        except AssertionError:
            pytest.fail(f'no {pattern!r} on the screen:\n{seen[0]}')
        return seen[0]

    def pid(self):
        shell = (self.folder / 'shell').read_text().strip()

        def child():
            return subprocess.run(['pgrep', '-P', shell, '-x', PROGRAM[:15]], stdout=subprocess.PIPE).stdout.split()
        return int(until('the program runs', child)[0])

    def ended(self, code):
        """It ended, and the terminal is as it was: no other screen, its modes, its cursor."""
        screen = self.shows(f'^ended {code}$')
        assert 'Dashboard' not in screen
        before, after = ((self.folder / name).read_text().splitlines() for name in ('before', 'after'))
        assert before[1:] == after[1:]  # the first line has the size
        flags = self.tmux('display-message', '-p', '-t', 'top', '#{alternate_on} #{cursor_flag}')
        assert flags.strip() == '0 1'

    def close(self):
        subprocess.run(['tmux', '-L', self.socket, 'kill-server'], stderr=subprocess.DEVNULL)


@pytest.fixture
def terminal(server, tmp_path):
    opened = []

    def start(*more, **kw):
        folder = tmp_path / f'terminal{len(opened)}'
        folder.mkdir()
        opened.append(Terminal(folder, [*server.args(), '--interval', '0.3', *more], **kw))
        return opened[-1]
    yield start
    for one in opened:
        one.close()


# --- one frame ----------------------------------------------------------------------------------------------------------

def test_run_once__prints_the_frame_of_the_document(server):
    for i in range(1, 1201):
        server.action('NEW', i, status='WAITING')
    server.action('NEW', 2000, action='RESTORE', mdt='fs-MDT0001', status='FAILED')
    server.purge(1)
    server.purge(fid=fid_of(2), source='maintenance')
    result = run(PROGRAM, *server.args(), '--run-once', env=environment())
    out = re.sub(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d', 'TIME', result.out)
    out = re.sub(r'\d+s ago', 'Ns ago', out)
    assert out == ('--- Lustre HSM Action Dashboard ---\n'
                   'Time: TIME | Redis: Connected\n'
                   'Viewer Status: Snapshot complete (1,203 events).\n'
                   'Live Actions: 1,199 | Total Events Processed: 1,203 | Last Event: Ns ago\n'
                   '\n'
                   '--- Live Action Count by (MDT, Action, Status) ---\n'
                   'MDT        | ACTION  | STATUS     |      COUNT DIFF\n'
                   '---------------------------------------------------------\n'
                   'fs-MDT0000 | ARCHIVE | WAITING    |      1,198\n'
                   'fs-MDT0001 | RESTORE | FAILED     |          1\n')
    assert not result.err


def test_run_once__of_an_empty_server(server):
    out = run(PROGRAM, *server.args(), '--run-once').out
    assert 'Live Actions: 0 | Total Events Processed: 0 | Last Event: Never\n' in out
    assert out.endswith('---\nNo live actions detected.\n')


def test_run_once__prints_no_control_characters_whatever_the_names(server):
    server.redis.xadd(b'hsm:actions:\x1b[2J\xff\x07', {'data': '{"event_type":"NEW","cat_idx":1,"rec_idx":1,"action":"A\\u001b[0m","status":"\u202e\u4e2d"}'})
    for locale in ('C.UTF-8', 'C'):
        raw = run(PROGRAM, *server.args(), '--run-once', env=environment(LC_ALL=locale)).raw
        assert all(c == '\n' or c.isprintable() for c in raw.decode('utf-8' if locale != 'C' else 'ascii'))


def test_run_once__goes_by_its_options(server):
    other = redis.Redis(port=server.port, db=3)
    other.xadd('mine:fs-MDT0007', {'data': json.dumps(event_of('NEW', 1, 'REMOVE', 'WAITING', 'm', None, 0))})
    out = run(PROGRAM, *server.args(), '--run-once', '--db', '3', '--stream-prefix', 'mine').out
    assert 'fs-MDT0007 | REMOVE | WAITING    |          1\n' in out


def test_run_once__says_that_there_is_no_server():
    port = free_port()
    result = run(PROGRAM, '--host', '127.0.0.1', '--port', port, '--run-once', check=1)
    assert result.out == '' and f'hsm-action-top: redis://127.0.0.1:{port}/1: no server answers\n' in result.err


@pytest.mark.parametrize('args', [['--interval', '0'], ['--interval', 'x'], ['--interval', 'nan'], ['--stalled', 'x'], ['word'], ['--nonsense'],
                                  ['--db', '-1']])
def test_usage__errors_are_told_in_one_line(args):
    result = run(PROGRAM, *args, check=2)
    assert len(result.err.splitlines()) == 1 and not result.out


def test_screen__is_refused_where_there_is_none(server):
    assert '--run-once' in run(PROGRAM, *server.args(), check=2, env=environment()).err


# --- the screen ---------------------------------------------------------------------------------------------------------

def head(screen):
    return screen.splitlines()[0]


@needs_tmux
@pytest.mark.parametrize('name', ['dumb', 'no-such-terminal', ''])
def test_screen__is_refused_on_a_terminal_that_cannot(terminal, name):
    t = terminal(env=f'TERM={name}')
    t.ended(2)
    assert '--run-once' in (t.folder / 'stderr').read_text()


@needs_tmux
def test_screen__shows_changes_and_rates(server, terminal):
    for i in range(1, 11):
        server.action('NEW', i, status='WAITING', age=7300)
    server.action('NEW', 99, action='RESTORE', mdt='fs-MDT0001')
    t = terminal()
    t.shows('Viewer Status: Listening for live updates...')
    screen = t.shows(r'^ fs-MDT0000  ARCHIVE  WAITING +10 +2:01:\d\d +10$')
    lines = screen.splitlines()
    assert len(lines) == 24 and max(map(len, lines)) <= 80
    assert re.search(r'^Redis: Connected \| redis://127.0.0.1', screen, re.M)
    assert 'Live Actions: 11 | Total Events Processed: 11 | Last Event: ' in screen
    assert 'Stalled: 10 ' in screen
    t.keys('Space')
    t.shows(r'\[PAUSED\]')
    server.action('NEW', 11, status='WAITING')
    server.action('UPDATE', 99, action='RESTORE', mdt='fs-MDT0001', status='FAILED')
    time.sleep(0.7)
    assert 'Live Actions: 11 ' in t.screen()
    t.keys('p')
    # Differences to the frame before the pause; a slow machine may be late to see them, but not the counts.
    screen = t.shows(r'Live Actions: 12 ')
    assert re.search(r'^ fs-MDT0001  RESTORE  FAILED +1 ', screen, re.M)
    t.shows(r'Failed 0\.\d*[1-9]')
    t.keys('q')
    t.ended(0)
    assert (t.folder / 'stderr').read_text() == ''


@needs_tmux
def test_screen__resizes(server, terminal):
    server.fill(200, mdts=60)
    t = terminal()
    t.shows(r' 1-16 of 120\s*$')
    t.tmux('resize-window', '-t', 'top', '-x', 40, '-y', 10)
    screen = t.shows(r' 1-\d of 120\s*$')
    lines = screen.splitlines()
    assert len(lines) == 10 and max(map(len, lines)) <= 40
    assert any(re.match(r' fs-MDT0000  ARCHIVE  STARTED +\d', line) for line in lines)
    t.tmux('resize-window', '-t', 'top', '-x', 1, '-y', 1)
    time.sleep(0.3)
    t.tmux('resize-window', '-t', 'top', '-x', 132, '-y', 50)
    screen = t.shows(r' 1-4\d of 120\s*$')
    assert head(screen).startswith(' Lustre HSM Action Dashboard')
    t.keys('q')
    t.ended(0)


@needs_tmux
def test_keys__sort_filter_scroll_and_help(server, terminal):
    server.fill(240, mdts=60)
    for i in range(5):
        server.action('NEW', 1000 + i, action='REMOVE', status='WAITING', mdt='fs-MDT003a', age=9000)
    t = terminal()
    t.shows(' 1-16 of 121')
    t.keys('End')
    t.shows(' 106-121 of 121')
    t.keys('C')
    screen = t.shows('COUNT↓')
    first = [line for line in screen.splitlines() if line.startswith(' fs-')][0]
    assert first.split()[:4] == ['fs-MDT003a', 'REMOVE', 'WAITING', '5']
    t.keys('m', '3A', 'Enter')
    screen = t.shows('Filter: mdt~3A')
    assert len(re.findall('^ fs-MDT003a ', screen, re.M)) == 3 and 'MDT0001' not in screen
    t.keys('a', 'nothing', 'Enter')
    t.shows('No live actions that the filters let through')
    t.keys('c')
    t.shows(' 1-16 of 121')
    t.keys('l')
    screen = t.shows(r'^ UNCHANGED')
    assert re.search(rf'^ +2:30:\d\d .*fs-MDT003a  REMOVE .*{fid_of(1000)}', screen, re.M)
    t.keys('h')
    t.shows('^ q +quit')
    t.keys('Escape')
    t.shows('COUNT↓')
    t.keys('+')
    t.shows('every 0.50 s')
    t.keys('C-c')
    t.ended(0)


@needs_tmux
def test_screen__has_no_colour_where_none_is_wanted(server, terminal):
    server.action('NEW', 1, status='FAILED')
    colours = {}
    for env in ('', 'NO_COLOR=1'):
        t = terminal(env=env)
        t.shows('FAILED  ')
        colours[env] = re.search(r'\x1b\[[0-9;]*3[1-7]m', t.tmux('capture-pane', '-p', '-e', '-t', 'top'))
        t.keys('q')
        t.ended(0)
    assert colours[''] and not colours['NO_COLOR=1']


@needs_tmux
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_screen__is_put_back_when_a_signal_ends_it(server, terminal, number):
    t = terminal()
    t.shows('Listening')
    os.kill(t.pid(), number)
    t.ended(0)


@needs_tmux
def test_screen__is_put_back_after_a_crash(server, terminal):
    t = terminal()
    t.shows('Listening')
    os.kill(t.pid(), signal.SIGABRT)
    t.ended(128 + signal.SIGABRT)


@needs_tmux
def test_screen__stops_and_goes_on(server, terminal):
    t = terminal()
    t.shows('Listening')
    pid = t.pid()
    t.keys('C-z')
    # The shell is no interactive one: it does not take the terminal, but it shows.
    until('it stopped', lambda: open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[0] == 'T')
    assert t.tmux('display-message', '-p', '-t', 'top', '#{alternate_on}').strip() == '0'
    os.kill(pid, signal.SIGCONT)
    t.shows('Listening')
    t.keys('q')
    t.ended(0)


@needs_tmux
def test_quit__works_while_the_server_hangs(server, terminal):
    server.action('NEW', 1)
    t = terminal()
    t.shows('^ fs-MDT0000')
    server.hang()
    screen = t.shows('^Redis: (No answer for|Disconnected)')
    assert re.search('^ fs-MDT0000', screen, re.M)
    t.keys('q')
    t.ended(0)


@needs_tmux
def test_quit__works_before_there_is_a_connection(server, terminal):
    server.hang()
    t = terminal()
    t.shows('^Redis: Connecting')
    t.keys('q')
    t.ended(0)


@needs_tmux
def test_screen__keeps_the_table_while_the_server_is_gone(server, terminal):
    server.action('NEW', 1)
    server.action('NEW', 2)
    t = terminal()
    t.shows(r'^ fs-MDT0000  ARCHIVE  STARTED +2 ')
    server.kill()
    screen = t.shows(r'^Redis: Disconnected \(no server answers\)')
    assert re.search(r'^ fs-MDT0000  ARCHIVE  STARTED +2 ', screen, re.M)
    server.start()
    server.action('NEW', 3)
    server.purge(1)
    server.purge(2)
    screen = t.shows(r'^ fs-MDT0000  ARCHIVE  STARTED +1 ')
    assert 'Redis: Connected' in screen
    # A server that comes without its data has nothing live.
    server.redis.flushall()
    t.shows('No live actions detected')
    t.keys('q')
    t.ended(0)


@needs_tmux
def test_screen__says_that_it_replays_history(server, terminal):
    server.fill(120000)
    t = terminal()
    t.shows(r'Viewer Status: Replaying history: [\d,]+ events')
    screen = t.shows('Listening for live updates')
    assert 'Live Actions: 120,000 ' in screen
    assert '(+' not in screen  # history is no difference
    t.keys('q')
    t.ended(0)
