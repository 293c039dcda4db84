"""DSPy: predictors, chains of thought, an agent with tools, asynchronous calls, streams."""

import asyncio

import dspy

REQUIREMENTS = ["dspy", "mcp"]
SHOWN = ["dspy"]
SERVED = 93
ROUNDS = 4
UNORDERED = ["several in flight", "several threads"]
ANSWERS = [
    {
        "in": ["next_thought", "Snow in Oslo"],
        "answer": "[[ ## next_thought ## ]]\nI know.\n\n[[ ## next_tool_name ## ]]\nfinish\n\n"
        "[[ ## next_tool_args ## ]]\n{}\n\n[[ ## completed ## ]]",
    },
    {
        "in": "next_thought",
        "answer": "[[ ## next_thought ## ]]\nLook.\n\n[[ ## next_tool_name ## ]]\nget_weather\n\n"
        '[[ ## next_tool_args ## ]]\n{"city": "Oslo"}\n\n[[ ## completed ## ]]',
    },
    {"in": "[[ ## score ## ]]", "answer": "[[ ## answer ## ]]\nyes\n\n[[ ## score ## ]]\n3\n\n[[ ## completed ## ]]"},
    {
        "in": "[[ ## reasoning ## ]]",
        "answer": "[[ ## reasoning ## ]]\nThink.\n\n[[ ## answer ## ]]\nyes, it is so\n\n[[ ## completed ## ]]",
    },
    {"in": "[[ ## answer ## ]]", "answer": "[[ ## answer ## ]]\nyes, it is so\n\n[[ ## completed ## ]]"},
]


class Scored(dspy.Signature):
    """Answer and say how sure you are."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()
    score: int = dspy.OutputField()


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"Snow in {city}"


def tasks(address):
    lm = dspy.LM(
        "openai/gpt-4o",
        api_base=address,
        api_key="sk-test",
        cache=False,
        num_retries=1,
        temperature=0.2,
        engine="litellm",
    )
    dspy.configure(lm=lm)
    predict = dspy.Predict("question -> answer")

    def predictors(number):
        return [dict(predict(question=f"{number}: question {turn}")) for turn in range(5)]

    def chains(number):
        return [dict(dspy.ChainOfThought("question -> answer")(question=f"{number}: q {turn}")) for turn in range(3)]

    def structured(number):
        return [dict(dspy.Predict(Scored)(question=f"{number}: q {turn}")) for turn in range(3)]

    def agent(number):
        return dict(dspy.ReAct("question -> answer", tools=[get_weather])(question=f"{number}: the weather in Oslo?"))

    def model(number):
        return lm(f"{number}: hello"), lm(messages=[{"role": "user", "content": f"{number}: hello again"}])

    def threads(number):
        examples = [
            (predict, dspy.Example(question=f"{number}: thread {turn}").with_inputs("question")) for turn in range(4)
        ]
        return [dict(one) for one in dspy.Parallel(num_threads=2, disable_progress_bar=True)(examples)]

    async def in_flight(number):
        asked = (predict.acall(question=f"{number}: flight {turn}") for turn in range(5))
        return [dict(one) for one in await asyncio.gather(*asked)]

    async def streams(number):
        listener = dspy.streaming.StreamListener(signature_field_name="answer", allow_reuse=True)
        program = dspy.streamify(predict, stream_listeners=[listener])
        return [getattr(item, "chunk", str(item)) async for item in program(question=f"{number}: stream")]

    def failures(number):
        shown = []
        for words in ("fail with 429", "fail once with 500", "refuse the key"):
            try:
                shown.append(lm(f"{number}: {words}"))
            except Exception as error:
                shown.append(error)
        return shown

    return {
        "predictors": predictors,
        "chains of thought": chains,
        "structured": structured,
        "agent": agent,
        "model": model,
        "several threads": threads,
        "several in flight": in_flight,
        "streams": streams,
        "failures": failures,
    }
