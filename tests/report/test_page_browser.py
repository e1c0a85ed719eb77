"""The page in a real browser, where there is one: on a desk and on a phone, with JavaScript and without."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

# Only the headless shell: a full browser sends requests of its own, and its windows are at least
# 500 pixels wide.
NAMES = ("chromium-headless-shell", "chrome-headless-shell")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="there is no headless Chromium on this machine"
)


def opened(page, folder, width, *options):
    """Open a page; returns the document as it is then, what the console was told, and what was asked of a network."""
    log = folder / f"net-{width}.json"
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--log-net-log={log}",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", *options, page.as_uri(),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    console = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    asked = re.findall(r'"url":"(https?://[^"]*)"', log.read_text())
    return ended.stdout, console, asked


def instrumented(source, folder, script):
    """The page with one more script, and without the policy that would not let it run."""
    page = folder / "instrumented.html"
    text = re.sub(r"<meta http-equiv=[^>]*>", "", source.read_text())
    page.write_text(text.replace("</body>", f"<script>{{{script}}}</script></body>"))
    return page


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_without_a_word_on_the_console_or_a_request(judged, tmp_path, width):
    document, console, asked = opened(
        judged / "reports" / "index.html", tmp_path, width, "--dump-dom"
    )
    assert (console, asked) == ([], [])
    assert '<html lang="en" class="js">' in document


@pytest.mark.parametrize("width", [1280, 390])
def test_without_javascript_the_page_looks_the_same(judged, tmp_path, width):
    pictures = []
    for allowed in ("allow-scripts", ""):
        frame = tmp_path / "frame.html"
        source = (judged / "reports" / "index.html").as_uri()
        style = "border:0;display:block;width:100vw;height:100vh"
        frame.write_text(
            f'<body style="margin:0"><iframe sandbox="{allowed}" src="{source}" style="{style}">'
        )
        path = tmp_path / "picture.png"
        _, console, asked = opened(frame, tmp_path, width, f"--screenshot={path}")
        assert ["Blocked script execution" in line for line in console] == (
            [] if allowed else [True]
        )
        assert asked == []
        pictures.append(np.array(Image.open(path)))
    assert pictures[0].shape[1] == width
    assert (pictures[0] != pictures[0][0, 0]).any(2).mean() > 0.05  # something is drawn
    assert (pictures[0] == pictures[1]).all()


def test_errors_and_requests_would_have_been_noticed(judged, tmp_path):
    page = instrumented(
        judged / "reports" / "index.html", tmp_path, "fetch('http://127.0.0.1:9/x'); undefined.x"
    )
    _, console, asked = opened(page, tmp_path, 390, "--dump-dom")
    assert any("TypeError" in line for line in console)
    assert asked


def test_a_script_in_the_page_that_is_not_ours_does_not_run(judged, tmp_path):
    page = tmp_path / "page.html"
    text = (judged / "reports" / "index.html").read_text()
    page.write_text(text.replace("</body>", "<script>document.title = 'taken'</script></body>"))
    document, console, _ = opened(page, tmp_path, 390, "--dump-dom")
    assert "<title>taken" not in document
    assert any("Content Security Policy" in line for line in console)


@pytest.mark.parametrize("name", ["student-p60", "a" * 100])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_but_what_scrolls_by_itself_is_wider_than_the_window(judged, tmp_path, width, name):
    script = "document.title = JSON.stringify([document.documentElement.scrollWidth, innerWidth])"
    page = instrumented(judged / "reports" / "index.html", tmp_path, script)
    page.write_text(page.read_text().replace("student-p60", name))
    document, _, _ = opened(page, tmp_path, width, "--dump-dom")
    wide, window = json.loads(re.search(r"<title>(.*?)</title>", document)[1])
    assert wide <= window == width


def test_pointing_at_a_model_marks_it_everywhere_and_a_head_sorts_its_table(judged, tmp_path):
    script = """
      const all = [...document.querySelectorAll("[data-model=student]")];
      all[0].dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
      const hot = document.querySelectorAll(".hot").length;
      const head = [...document.querySelectorAll("#metrics thead th")].find(one => one.textContent === "file");
      const column = head.cellIndex, body = head.closest("table").tBodies[0];
      const sizes = () => [...body.rows].map(row => Number(row.cells[column].dataset.value));
      head.click();
      const down = sizes();
      head.click();
      document.title = JSON.stringify([hot, all.length, document.querySelector("#tip").textContent, down, sizes()]);
    """
    document, _, _ = opened(
        instrumented(judged / "reports" / "index.html", tmp_path, script),
        tmp_path,
        1280,
        "--dump-dom",
    )
    hot, known, tip, down, up = json.loads(
        re.search(r"<title>(.*?)</title>", document, re.DOTALL)[1]
    )
    assert hot == known > 5
    assert tip.startswith("student")
    assert down == sorted(up, reverse=True) != up == sorted(up)
