"""What the documentation's site adds to its theme, on a site of one page. Building all of it is `make docs`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("material", reason="the site is built with it (make .venv/.docs)")
pytest.importorskip("selenium", reason="a browser is driven with it")

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.chromium import MISSING, WHY_MISSING, started

SITE = Path(__file__).resolve().parents[2] / "docs" / "site"
WAIT_S = 30

pytestmark = pytest.mark.skipif(MISSING, reason=WHY_MISSING)

PAGE = """
```console
$ inmem runs 'trip.db'
RUN   STATUS
$ inmem verify trip.db | grep '$ '
```

```python
price = "$ 5"
```

```text
$ no session
```
"""


@pytest.fixture
def site(tmp_path):
    """The address of a site that is made as the true one is, but of one page."""
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.md").write_text(PAGE, encoding="utf-8")
    config = {
        "INHERIT": str(SITE / "mkdocs.yml"),
        "docs_dir": "pages",
        "site_dir": "site",
        "nav": [{"Home": "index.md"}],
        "theme": {"custom_dir": str(SITE / "theme")},
        "hooks": [],
        "plugins": [],
    }
    # JSON is YAML.
    (tmp_path / "mkdocs.yml").write_text(json.dumps(config), encoding="utf-8")
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "--quiet"], cwd=tmp_path, env=quiet, check=True)
    return (tmp_path / "site" / "index.html").as_uri()


@pytest.fixture
def driver(tmp_path_factory):
    driver = started(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


def test_the_copy_button_takes_commands_without_prompts_and_output(site, driver):
    driver.get(site)
    # The clipboard itself is not for a page from the disk: this is what is put into it.
    driver.execute_script("document.addEventListener('copy', (event) => { window.copied = event.target.value })")

    copied = []
    for block in driver.find_elements(By.CSS_SELECTOR, "div.highlight"):
        wait = WebDriverWait(driver, WAIT_S, 0.05)
        [button] = wait.until(lambda _: block.find_elements(By.CSS_SELECTOR, "[data-clipboard-target]"))  # noqa: B023
        driver.execute_script("window.copied = null")
        button.click()
        copied.append(wait.until(lambda _: driver.execute_script("return window.copied")).rstrip("\n"))

    assert copied == ["inmem runs 'trip.db'\ninmem verify trip.db | grep '$ '", 'price = "$ 5"', "$ no session"]
