"""How many cases: a few in CI, as many as it takes for a soak."""

from hypothesis import settings

settings.register_profile("default", max_examples=60)
settings.register_profile("soak", max_examples=6000)
