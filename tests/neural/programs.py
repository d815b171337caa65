"""The programs of this folder that the oracles ask."""
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def program(name):
    """The path of what tests/neural/NAME.c becomes, made anew if any source of it is younger."""
    path = "build/tests/neural/" + name
    subprocess.run(["make", "--no-print-directory", "-s", path], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return str(ROOT / path)
