# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import harness  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: takes long; runs only with DROVER_SLOW=1')


def pytest_collection_modifyitems(items):
    if os.environ.get('DROVER_SLOW') != '1':
        for item in items:
            if item.get_closest_marker('slow'):
                item.add_marker(pytest.mark.skip(reason='runs with DROVER_SLOW=1'))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    site = getattr(item, 'funcargs', {}).get('site')
    if report.failed:
        item.test_failed = True
        if site:
            for name, text in site.logs():
                report.sections.append((name, text))


def pytest_sessionfinish():
    harness.await_removers()


def make_site(tmp):
    """@return the place, and what is to be removed after it"""
    folder, own = tmp, None
    if not harness.suits_a_lab(tmp):
        for top in ('/var/tmp', harness.BUILD):
            if harness.suits_a_lab(top):
                folder = own = tempfile.mkdtemp(prefix='drover-test-', dir=top)
                break
        else:
            pytest.fail('no folder with user xattrs for a lab: set --basetemp')
    site = harness.Site(folder)
    return site, [own] if own else [site.lab_dir, site.tree, site.dir / 'out']


def end_site(site, waste, keep):
    left = site.close()
    if not keep:
        for folder in waste:
            harness.remove_tree(folder)
    assert not left, f'still there after their daemons were killed: {left}'


@pytest.fixture
def site(request, tmp_path):
    """An empty place on a disk that suits a lab, and the end of every process that the test starts there."""
    site, waste = make_site(tmp_path)
    yield site
    keep = getattr(request.node, 'test_failed', False) and os.environ.get('DROVER_KEEP') == '1'
    end_site(site, waste, keep)


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    """One place for many tests that change nothing in it: a lab of 4 OSTs with files, and a campaign that never ran."""
    site, waste = make_site(tmp_path_factory.mktemp('shared'))
    site.make(4)
    site.lab('fill', '--files', 20, '--size', '1-8K')
    site.start('there', osts='0')
    yield site
    end_site(site, waste, False)
