"""What tests in a real browser share."""

from __future__ import annotations

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip

CUT_OFF = """() => {
  const cut = [...document.querySelectorAll("body *")].filter((element) => {
    const { right, width } = element.getBoundingClientRect();
    const strip = element.closest(".strip"); // images in one line, which is moved sideways
    return width && right > innerWidth + 1 && (!strip || strip === element);
  });
  return cut.map((element) => element.outerHTML.slice(0, 100));
}"""
"""What of a page lies beyond the right edge of the window."""
