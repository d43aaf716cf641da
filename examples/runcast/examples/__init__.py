"""Providers that do real work on real input; `--providers examples` serves them."""

from runcast.examples.countdown import countdown, spin
from runcast.examples.fingerprint import fingerprint
from runcast.examples.greet import greet
from runcast.examples.import_csv import import_csv

__all__ = ["countdown", "fingerprint", "greet", "import_csv", "spin"]
