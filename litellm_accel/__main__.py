"""``python -m litellm_accel [-m] target args…`` runs any program accelerated."""

from __future__ import annotations

from litellm_accel.cli import main, run

main(run, prog_name="python -m litellm_accel")
