"""``python -m litellm_accel.provider``."""

from litellm_accel.provider import main

main()
