"""How many cases: the same few in each CI run, new ones and as many as it takes in a soak."""

from hypothesis import settings

settings.register_profile("default", max_examples=60, derandomize=True)
settings.register_profile("soak", max_examples=6000)
settings.register_profile("short-soak", max_examples=600)
