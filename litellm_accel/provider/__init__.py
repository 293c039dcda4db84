"""An OpenAI-compatible provider on loopback, in a process of its own, that can answer as the real ones do.

It answers the demo, the benchmarks, ``verify`` and the tests over real HTTP, so that what is measured is the client
alone. What it answers depends on the request and on how often the very same was asked, so that two clients which do
the same can be compared.

    with Provider() as provider:
        litellm.completion("openai/gpt-4o", messages, api_base=provider.url, api_key="sk-test")
        provider.requests()[-1].json["model"]

``python -m litellm_accel.provider --port 0`` runs it by hand and prints its address.

Profiles
--------
``Provider(profile="openai", tls=True)`` answers as OpenAI does: its headers, cookies, encodings, members of answers and
streams, over TLS. ``PROFILES`` has the others (``profiles.py``). The certificate is signed by an authority of the
provider's own, whose file is ``provider.authority``: clients trust it where SSL_CERT_FILE or ``litellm.ssl_verify``
names it. Without the package cryptography there is no TLS: a line on standard error says so, and the address is plain
HTTP.

Only HTTP/1.1 is spoken and negotiated: LiteLLM offers HTTP/2 where somebody switches it on (``litellm.http2``) alone.

Routes
------
=============================  ===================================================================================
``POST …/chat/completions``    any prefix: ``/v1``, ``/openai/deployments/NAME`` (the model is then NAME), ``/api/v3``
``POST …/embeddings``          eight-dimensional vectors derived from the text
``GET …/models``, ``/health``  a list of two models; ``{"status": "ok"}``
``GET /-/requests``            what was received so far (``DELETE`` forgets it); ``GET /-/stats`` counts
=============================  ===================================================================================

Scenarios
---------
How a chat request is answered is told by its model name: ``NAME`` or ``NAME{"field": value, …}``, where NAME is one of
the table ``SCENARIOS``, an error or delay in the form below, or any other text (a plain answer), and the fields are
those of ``Scenario``: ``gpt-4o``, ``tools``, ``error-429-retry-after-0.5``, ``plain{"n": 3, "usage": null}``,
``plain{"profile": "groq"}``. Where the model must keep its real name, the scenario is put in the address instead:
``provider.at("error-500-then-ok")``. Where calls that are alike must be answered differently, the last message asks for
it: ``answer as: error-500-then-ok``.

Where a program's own words decide, a script does: ``Provider(script=(path, argument))`` loads a Python file whose
``script(argument)`` returns a function from a chat request to a scenario, or to ``""`` where the above shall hold.

``error-STATUS[-retry-after-SECONDS][-then-ok[-TIMES]]`` answers with an error, for ever or the first TIMES (1) requests
of one path, key and model; with the field ``"by_body": true`` those of one key and body, and anew after one
plain answer. ``delay-SECONDS`` answers plainly after a while.
"""

from __future__ import annotations

from litellm_accel.provider.process import Address, Provider
from litellm_accel.provider.profiles import PROFILES, RATE_LIMIT_HEADERS, Profile
from litellm_accel.provider.received import RecordedRequest
from litellm_accel.provider.scenarios import SCENARIOS, Scenario, scenario

__all__ = [
    "PROFILES",
    "RATE_LIMIT_HEADERS",
    "SCENARIOS",
    "Address",
    "Profile",
    "Provider",
    "RecordedRequest",
    "Scenario",
    "scenario",
]
