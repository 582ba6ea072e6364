"""Pages of the report in headless Chromium."""

import json
import re
import shutil
import subprocess

import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--enable-logging=stderr",
)  # fmt: skip

needed = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

_WATCH = """<script>
  window.asked = [];
  addEventListener("securitypolicyviolation", (event) => asked.push(event.blockedURI));
</script>"""
_DRIVE = """<script>addEventListener("load", () => {
  const all = (what, inside = document) => [...inside.querySelectorAll(what)];
  const choose = (select, name) => { select.value = name; select.dispatchEvent(new Event("change")); };
  const found = (() => {%s})();
  for (const entry of performance.getEntriesByType("resource")) asked.push(entry.name);
  const fetched = asked.filter((name) => !name.startsWith("data:"));
  document.body.dataset.found = JSON.stringify({found, fetched});
});</script></body>"""


def browse(tmp_path, *arguments):
    """Run Chromium; skips where it does not answer."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("chromium does not answer on this machine")


def drive(tmp_path, page, script):
    """What a script finds in a page once it is loaded: its result, what the page asked of the network, the console."""
    text = page.read_text(encoding="utf-8")
    text = text.replace("<head>", f"<head>{_WATCH}", 1).replace("</body>", _DRIVE % script)
    driven = tmp_path / f"driven-{page.name}"
    driven.write_text(text, encoding="utf-8")
    result = browse(tmp_path, "--dump-dom", driven.as_uri())
    held = re.search(r'data-found="([^"]*)"', result.stdout)
    console = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    assert held, (console, result.stderr[-500:])
    found = json.loads(held.group(1).replace("&quot;", '"').replace("&amp;", "&").replace("&lt;", "<"))
    return found["found"], found["fetched"], console


def looks_right(tmp_path, page, width, scheme):
    """A page in the dark (0) or the light (1) scheme: no complaint, the right ground, nothing over the right edge."""
    shot = tmp_path / "shot.png"
    colours = f"--blink-settings=preferredColorScheme={scheme}"
    result = browse(tmp_path, f"--window-size={width},3000", f"--screenshot={shot}", colours, page.as_uri())
    if not shot.exists():
        pytest.skip(f"chromium takes no pictures on this machine: {result.stderr[-300:]}")
    assert "CONSOLE" not in result.stderr, result.stderr
    picture = Image.open(shot).convert("RGB")
    corner = sum(picture.getpixel((2, 2))) / 3
    assert (corner < 60) if scheme == 0 else (corner > 220)
    edge = picture.crop((width - 3, 0, width, picture.height)).getcolors()
    assert edge is not None
    assert len(edge) == 1, "something reaches over the right edge"
