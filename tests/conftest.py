"""Hypothesis profiles; HYPOTHESIS_PROFILE names the one to use.

None has a deadline: how long an example takes says more about the machine than about the code.
"""

import os

from hypothesis import settings

settings.register_profile("default", deadline=None, max_examples=50, stateful_step_count=30)
settings.register_profile("quick", deadline=None, max_examples=10, stateful_step_count=20)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=100,
    stateful_step_count=50,
    # New examples in every run; the blob, and the example database where it is kept, bring a failure back.
    derandomize=False,
    print_blob=True,
)
settings.register_profile("thorough", parent=settings.get_profile("ci"), max_examples=2000)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default"))
