"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is. (hypothesis knows that of CI alone, by the environment.)
settings.register_profile("jobd", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("jobd")
