# SPDX-License-Identifier: LGPL-2.1-or-later
"""A series of rounds on the same hosts and the same lab, and what they came to."""
import collections
import json
import pathlib
import random
import shutil

import sandbox
from faults import FAULTS
from hosts import Cluster, Share, command
from rounds import SKEW, Lab, Plan, Round

SKEWS_S = (420, -300, 0, 180)


class Series:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.rounds, self.violated, self.results = 0, 0, []
        self.faults, self.kinds_of_violations = collections.Counter(), collections.Counter()
        self.slowest, self.failovers, self.recoveries, self.exits = (0, None), [], [], []
        self.kept, self.names = [], 0
        self.cluster = self.share = None

    def run(self):
        args = self.args
        only = [words.split(',') for words in args.only or []]
        unknown = {k for kinds in only for k in kinds} - set(FAULTS) - {SKEW}
        if unknown:
            raise SystemExit(f'no such fault: {sorted(unknown)}; there are: {SKEW} {" ".join(FAULTS)}')
        print(f'seed {args.seed}', flush=True)
        self.share = Share(self.folder)
        sandbox.tell_guard(self.share.path)
        self.cluster = Cluster()
        self.lab = Lab(self.folder / 'site', self.share, self.cluster.subnet, args.files, args.seed)
        turn, shuffler = [], random.Random(args.seed)
        for number in range(max(args.rounds, len(only))):
            seed = args.seed if number == 0 else random.Random(args.seed + number).randrange(1 << 31)
            if only:
                kinds = only[number % len(only)]
            else:
                # In turn: each kind comes once before any comes again.
                while len(turn) < args.faults_per_round:
                    more = sorted(FAULTS)
                    shuffler.shuffle(more)
                    turn += more
                kinds, turn = turn[:args.faults_per_round], turn[args.faults_per_round:]
                if shuffler.random() < 0.2 and shutil.which('cc'):
                    kinds = [SKEW, *kinds]
            if not self._round(number + 1, seed, Plan(kinds, args.overlap)) and args.stop_at_first:
                break

    def _clocks(self, apart):
        """The hosts' wall clocks are minutes apart: a small library gives each process its own idea of the time."""
        for host in self.cluster.hosts:
            host.env = {}
        if not apart:
            return
        library = self.folder / 'clock.so'
        if not library.exists():
            compiler = next(filter(None, map(shutil.which, ('cc', 'gcc', 'clang'))), None)
            if not compiler:
                raise sandbox.Skip('clocks of hosts can be apart only where a C compiler is')
            command(compiler, '-shared', '-fPIC', '-O1', '-o', library, pathlib.Path(__file__).with_name('clock.c'))
        for host, seconds in zip(self.cluster.hosts, SKEWS_S):
            host.env = {'LD_PRELOAD': str(library), 'CHAOS_SKEW_S': str(seconds)}

    def _round(self, number, seed, plan):
        self._clocks(plan.skewed)
        round_ = Round(number, seed, plan, self.cluster, self.share, self.lab, self.folder, self.args.verbose)
        round_.run()
        self.rounds += 1
        self.faults += round_.done
        self.failovers += round_.failovers
        self.recoveries += round_.recoveries
        self.names += len(round_.expected)
        self.exits += round_.keeper.exits
        print(round_.line(), flush=True)
        self.results.append({'line': round_.line(), 'violations': round_.violations.found})
        if self.args.results:
            pathlib.Path(self.args.results).write_text(json.dumps(self.results))
        if round_.failed():
            self.violated += 1
            self.kinds_of_violations.update(kind for kind, _ in round_.violations.found)
            pathlib.Path(self.args.keep).mkdir(parents=True, exist_ok=True)
            kept = round_.keep(pathlib.Path(self.args.keep))
            self.kept.append(kept)
            print(f'    kept in {kept}\n    again: --seed {seed} --only {plan}', flush=True)
            self.lab.make()
        else:
            self.lab.turn_around()
        round_.discard()
        return not round_.failed()

    def close(self):
        if self.cluster:
            self.cluster.close()

    def summary(self, seconds):
        print(f'\n{self.rounds} rounds, {self.violated} of them violated; {sum(self.faults.values())} faults; '
              f'{self.names} names moved; {seconds / 60:.1f} minutes')
        print('faults: ' + ', '.join(f'{k} {n}' for k, n in sorted(self.faults.items())))
        if self.failovers:
            ordered = sorted(self.failovers)
            print(f'fail-overs: {len(ordered)}, median {ordered[len(ordered) // 2]:.2f} s, slowest {ordered[-1]:.2f} s')
        if self.recoveries:
            slowest, kind = max(self.recoveries)
            print(f'slowest recovery: {slowest:.2f} s after {kind}')
        if self.exits:
            print(f'daemons that ended by themselves: {len(self.exits)}')
            for text in self.exits[:20]:
                print('  ' + text)
        if self.violated:
            print('violations: ' + ', '.join(f'{k} {n}' for k, n in sorted(self.kinds_of_violations.items())))
            print('kept: ' + ' '.join(map(str, self.kept)))
        print('', end='', flush=True)
