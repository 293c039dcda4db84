"""Python modules that lie beside the files of configurations, as LiteLLM's own examples have them."""

from __future__ import annotations

#: Writes what a callback is told to a file, and has a router's draws depend on the request alone.
TOLD = """
import json
import random

from litellm.integrations.custom_logger import CustomLogger


def shown(value):
    dump = getattr(value, "model_dump", None)
    return dump() if dump is not None else repr(type(value))


class Told(CustomLogger):
    def _tell(self, kind, kwargs, response):
        made = {
            "kind": kind,
            "names": sorted(kwargs),
            "model": kwargs.get("model"),
            "messages": kwargs.get("messages"),
            "cost": kwargs.get("response_cost"),
            "payload": kwargs.get("standard_logging_object"),
            "metadata": (kwargs.get("litellm_params") or {}).get("metadata"),
            "exception": repr(kwargs.get("exception")),
            "response": response,
        }
        with open("events.jsonl", "a") as file:
            file.write(json.dumps(made, default=shown) + "\\n")

    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        random.seed(len(json.dumps(data.get("messages"), default=str)))
        return data

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self._tell("success", kwargs, response_obj)

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self._tell("failure", kwargs, response_obj)


told = Told()
"""

#: What hooks of a proxy can do: refuse, answer, change the request, the answer, its headers and a stream.
HOOKS = """
from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger


class Hooks(CustomLogger):
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        text = str(data.get("messages"))
        if "rejected" in text:
            raise HTTPException(status_code=451, detail={"error": "rejected by a hook"})
        if "broken hook" in text:
            raise ValueError("a hook is broken")
        if "told off" in text:
            return "a text of the hook"
        if "changed" in text:
            data["messages"] = [{"role": "user", "content": "by the hook"}]
        if "tagged" in text:
            data.setdefault("metadata", {})["tags"] = ["by-the-hook"]
        return data

    async def async_moderation_hook(self, data, user_api_key_dict, call_type):
        if "moderated" in str(data.get("messages")):
            raise HTTPException(status_code=400, detail={"error": "moderated by a hook"})

    async def async_post_call_success_hook(self, data, user_api_key_dict, response):
        if "marked" in str(data.get("messages")):
            response.choices[0].message.content = "marked by a hook"
        return response

    async def async_post_call_failure_hook(self, request_data, original_exception, user_api_key_dict, *more, **named):
        if "worded" in str(request_data.get("messages")):
            return HTTPException(status_code=418, detail={"error": "worded by a hook"})

    async def async_post_call_response_headers_hook(self, data, user_api_key_dict, response, **more):
        return {"x-by-a-hook": "yes"}

    async def async_post_call_streaming_iterator_hook(self, user_api_key_dict, response, request_data):
        async for chunk in response:
            yield chunk


hooks = Hooks()
"""

GUARDRAIL = """
from fastapi import HTTPException
from litellm.integrations.custom_guardrail import CustomGuardrail


class Guard(CustomGuardrail):
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        for message in data.get("messages") or ():
            if isinstance(message.get("content"), str):
                message["content"] = message["content"].replace("secret", "********")
        return data

    async def async_moderation_hook(self, data, user_api_key_dict, call_type):
        if "forbidden" in str(data.get("messages")):
            raise HTTPException(status_code=400, detail={"error": "forbidden by a guardrail"})

    async def async_post_call_success_hook(self, data, user_api_key_dict, response):
        if "late" in str(data.get("messages")):
            raise HTTPException(status_code=400, detail={"error": "refused by a guardrail"})
"""

AUTHENTICATION = """
from litellm.proxy._types import UserAPIKeyAuth


async def user_api_key_auth(request, api_key):
    if not api_key.startswith("sk-"):
        raise Exception("no such key")
    if "limited" not in api_key:
        return UserAPIKeyAuth(api_key=api_key, user_id="anybody", team_id="b-team", metadata={"tags": ["of a key"]})
    return UserAPIKeyAuth(
        api_key=api_key, user_id="somebody", team_id="a-team", rpm_limit=6, tpm_limit=100_000, max_parallel_requests=5,
        team_rpm_limit=900, user_tpm_limit=500_000, metadata={"model_rpm_limit": {"gpt": 8}},
    )
"""

PROVIDER = """
import litellm
from litellm import CustomLLM


class Own(CustomLLM):
    def completion(self, *args, **kwargs):
        return litellm.completion(model="gpt-4o-mini", messages=[], mock_response="by a handler")

    async def acompletion(self, *args, **kwargs):
        return await litellm.acompletion(model="gpt-4o-mini", messages=[], mock_response="by a handler")


own = Own()
"""
