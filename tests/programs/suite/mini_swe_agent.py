"""mini-swe-agent: an agent that works in a shell by way of tool calls."""

from pathlib import Path

import yaml
from minisweagent import package_dir
from minisweagent.agents.default import DefaultAgent
from minisweagent.environments.local import LocalEnvironment
from minisweagent.models.litellm_model import LitellmModel

REQUIREMENTS = ["mini-swe-agent", "mcp"]
SHOWN = ["mini-swe-agent"]
SERVED = 97
ROUNDS = 6
ENVIRONMENT = {"MSWEA_SILENT_STARTUP": "1", "MSWEA_COST_TRACKING": "ignore_errors", "MSWEA_CONFIGURED": "true"}
ANSWERS = [
    {
        "in": "shell task",
        "answer": [
            {"call": ["bash", {"command": "echo begun"}], "content": "Let me look."},
            {"call": ["bash", {"command": "echo one && echo two"}]},
            {"calls": [["bash", {"command": "true"}], ["bash", {"command": "false"}]]},
            {"call": ["bash", {"command": "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"}]},
        ],
    },
]


def tasks(address):
    config = yaml.safe_load(Path(package_dir, "config", "mini.yaml").read_text())["agent"]
    wanted = {name: config[name] for name in ("system_template", "instance_template")}
    options = {"api_base": address, "api_key": "sk-test", "temperature": 0.0}
    model = LitellmModel(model_name="openai/gpt-4o", model_kwargs=options, cost_tracking="ignore_errors")

    def run(words):
        agent = DefaultAgent(model, LocalEnvironment(), step_limit=8, cost_limit=3.0, **wanted)
        result = agent.run(words)
        return [result, [[message.get("role"), message.get("content")] for message in agent.messages]]

    def agents(number):
        return [run(f"{number}: shell task {turn}") for turn in range(4)]

    def queries(number):
        return [model.query([{"role": "user", "content": f"{number}: shell task {turn}"}]) for turn in range(3)]

    def failures(number):
        shown = []
        for words in ("refuse the key",):
            try:
                shown.append(model.query([{"role": "user", "content": f"{number}: {words}"}]))
            except Exception as error:
                shown.append(error)
        return shown

    return {"agents": agents, "queries": queries, "failures": failures}
