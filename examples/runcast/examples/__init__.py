"""Providers that do real work on real input; `--providers examples` serves them."""

from runcast.examples.countdown import countdown, spin
from runcast.examples.fingerprint import fingerprint
from runcast.examples.greet import greet

__all__ = ["countdown", "fingerprint", "greet", "spin"]
