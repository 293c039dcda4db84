"""deepeval: metrics judged by a LiteLLM model."""

import asyncio

from deepeval.metrics import AnswerRelevancyMetric, GEval
from deepeval.models import LiteLLMModel
from deepeval.test_case import LLMTestCase, LLMTestCaseParams
from pydantic import BaseModel

REQUIREMENTS = ["deepeval", "mcp"]
SHOWN = ["deepeval"]
SERVED = 97
ROUNDS = 6
UNORDERED = ["several in flight"]
ENVIRONMENT = {"DEEPEVAL_TELEMETRY_OPT_OUT": "YES", "DEEPEVAL_DISABLE_DOTENV": "1", "DEEPEVAL_FILE_SYSTEM": "READ_ONLY"}


class Report(BaseModel):
    """A report of the weather."""

    city: str
    degrees: int


def tasks(address):
    model = LiteLLMModel(model="openai/gpt-4o", api_key="sk-test", base_url=address)

    def generate(number):
        return [model.generate(f"{number}: question {turn}") for turn in range(4)]

    def structured(number):
        return [model.generate(f"{number}: report {turn}", schema=Report) for turn in range(3)]

    def case(number, turn):
        return LLMTestCase(input=f"{number}: question {turn}", actual_output="It snows.", expected_output="Snow")

    def relevancy(number):
        shown = []
        for turn in range(2):
            metric = AnswerRelevancyMetric(model=model, async_mode=False)
            metric.measure(case(number, turn), _show_indicator=False)
            shown.append([metric.score, metric.reason])
        return shown

    def criteria(number):
        metric = GEval(
            name="right",
            criteria="Is it right?",
            evaluation_params=[LLMTestCaseParams.INPUT, LLMTestCaseParams.ACTUAL_OUTPUT],
            model=model,
            async_mode=False,
        )
        metric.measure(case(number, 0), _show_indicator=False)
        return [metric.score, metric.reason]

    async def in_flight(number):
        return await asyncio.gather(*(model.a_generate(f"{number}: flight {turn}") for turn in range(5)))

    def failures(number):
        try:
            return model.generate(f"{number}: refuse the key")
        except Exception as error:
            return error

    return {
        "generate": generate,
        "structured": structured,
        "relevancy": relevancy,
        "criteria": criteria,
        "several in flight": in_flight,
        "failures": failures,
    }
