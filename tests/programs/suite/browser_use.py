"""browser-use's LiteLLM model, as its agent calls it: structured answers, without a browser."""

import asyncio

from browser_use.llm.litellm.chat import ChatLiteLLM
from browser_use.llm.messages import AssistantMessage, SystemMessage, UserMessage
from pydantic import BaseModel

REQUIREMENTS = ["browser-use>=0.13"]
SHOWN = ["browser-use"]
SERVED = 97
ROUNDS = 6
UNORDERED = ["several in flight"]
ENVIRONMENT = {"ANONYMIZED_TELEMETRY": "false", "BROWSER_USE_LOGGING_LEVEL": "result"}


class Step(BaseModel):
    """What the agent does next."""

    evaluation: str
    memory: str
    done: bool


def tasks(address):
    model = ChatLiteLLM(model="openai/gpt-4o", api_key="sk-test", api_base=address, temperature=0.2)

    async def steps(number):
        history, shown = [SystemMessage(content="You browse.")], []
        for turn in range(5):
            history.append(UserMessage(content=f"{number}: page {turn}"))
            answer = await model.ainvoke(history, output_format=Step)
            history.append(AssistantMessage(content=answer.completion.model_dump_json()))
            shown.append([answer.completion, answer.usage])
        return shown

    async def plain(number):
        return [(await model.ainvoke([UserMessage(content=f"{number}: hello {turn}")])).completion for turn in range(4)]

    async def in_flight(number):
        asked = (model.ainvoke([UserMessage(content=f"{number}: flight {turn}")]) for turn in range(5))
        return [answer.completion for answer in await asyncio.gather(*asked)]

    async def failures(number):
        shown = []
        for words in ("fail with 429", "refuse the key"):
            try:
                shown.append(await model.ainvoke([UserMessage(content=f"{number}: {words}")]))
            except Exception as error:
                shown.append(error)
        return shown

    return {"steps": steps, "plain": plain, "several in flight": in_flight, "failures": failures}
