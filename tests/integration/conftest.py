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


@pytest.fixture
def site(request, tmp_path):
    """An empty place on a disk that suits a lab, and the end of every process that the test starts there."""
    folder, own = tmp_path, None
    if not harness.suits_a_lab(tmp_path):
        for top in ('/var/tmp', harness.BUILD):
            if harness.suits_a_lab(top):
                folder = own = tempfile.mkdtemp(prefix='drover-test-', dir=top)
                break
        else:
            pytest.fail('no folder with user xattrs for a lab: set --basetemp')
    site = harness.Site(folder)
    yield site
    left = site.close()
    keep = getattr(request.node, 'test_failed', False) and os.environ.get('DROVER_KEEP') == '1'
    if not keep:
        for folder in [own] if own else [site.lab_dir, site.tree, site.dir / 'out']:
            harness.remove_tree(folder)
    assert not left, f'still there after their daemons were killed: {left}'
