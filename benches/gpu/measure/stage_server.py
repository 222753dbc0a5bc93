"""Stage 4: measures the server under the published load, in turns with sentence-transformers on the same card."""

import itertools
import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from . import children, results
from .load import Bodies, Round, load, percentile
from .models import FORMS, Model
from .prepare import Preparation
from .program import Lexivec
from .results import Stage, Values
from .server import Server, body
from .settings import INPUT_TOKENS, Settings
from .stage_speed import NAME as SPEED
from .texts import fit, workload
from .vectors import summary

NAME = "4-server"
# Number of lists of texts. sentence-transformers gets a list at a time, with as many texts as lexivec has in flight.
PEER_LISTS = 4


class Peer:
    """sentence-transformers in a separate process."""

    def __init__(self, checkpoint: Path, lists: list[list[str]], settings: Settings) -> None:
        file = settings.work / "peer.json"
        file.write_text(json.dumps(lists), encoding="utf-8")
        what = ["--model", checkpoint, "--texts", file, "--device", settings.torch_device]
        self.log = open(settings.work / "peer.log", "w")
        self.process = subprocess.Popen(
            [sys.executable, str(children.script("torch_peer.py")), *map(str, what)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            preexec_fn=children.die_with_parent,
        )
        while (line := self.process.stdout.readline()) and line.strip() != "ready":
            pass
        if not line:
            raise RuntimeError(f"sentence-transformers: {Path(self.log.name).read_text().strip().splitlines()[-1:]}")

    def ask(self, line: str) -> dict:
        """Sends a line to the process and returns its answer."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        if not (answer := self.process.stdout.readline()):
            raise RuntimeError(f"sentence-transformers: {Path(self.log.name).read_text().strip().splitlines()[-1:]}")
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process, which frees the card's memory."""
        self.process.kill()
        self.process.wait()
        self.log.close()


def fastest_form(settings: Settings) -> Model:
    """Returns the fp16 or bf16 model with the most tokens per second in stage 3, or the first one if stage 3 has not run."""

    def rate(model: Model) -> float:
        values = results.values_of(settings.results, SPEED, model.name)
        return float(values["tokens_per_second"]) if values else 0.0

    return max(FORMS, key=rate)


def of_rounds(rounds: list[Round], inputs: int) -> Values:
    """Summarises rounds of load."""
    latencies = [seconds for one in rounds for seconds in one.latencies]
    rates = [one.per_second(inputs) for one in rounds]
    return {
        "inputs_per_second": round(statistics.median(rates), 1),
        "rounds": [round(rate, 1) for rate in rates],
        "request_seconds": {"p50": round(percentile(latencies, 0.5), 3), "p90": round(percentile(latencies, 0.9), 3)},
    }


def take_turns(settings: Settings, lexivec: Lexivec, preparation: Preparation, model: Model, with_peer: bool) -> Values:
    """Measures rounds of lexivec in turns with rounds of sentence-transformers."""
    directory = preparation.wait(model)
    size = settings.inputs_per_request
    peer = None
    with Server(lexivec, directory, settings) as server:
        connection = server.connect()
        passage_words, tokens = fit(connection.tokens, INPUT_TOKENS)
        inputs = workload(passage_words, seed=3)
        bodies = Bodies(body(list(itertools.islice(inputs, size))) for _ in itertools.count())
        values: Values = {"model": model.name, "tokens_per_input": round(tokens, 1), "peer": None}
        try:
            if with_peer:
                own = workload(passage_words, seed=4)
                together = size * settings.in_flight
                lists = [list(itertools.islice(own, together)) for _ in range(PEER_LISTS)]
                peer = Peer(preparation.wait_for("checkpoint"), lists, settings)
                values["vectors"] = same_vectors(peer, connection.embed(lists[0][:size]), settings)
            load(server, bodies, settings.in_flight, settings.load_seconds / 2)  # warms up
            ours, theirs = [], []
            for _ in range(settings.load_rounds):
                ours.append(load(server, bodies, settings.in_flight, settings.load_seconds))
                if peer:
                    answer = peer.ask(str(settings.load_seconds))
                    theirs.append(answer["inputs"] / answer["seconds"])
        finally:
            if peer:
                peer.close()
    values |= of_rounds(ours, size)
    values["tokens_per_second"] = round(values["inputs_per_second"] * tokens)
    if theirs:
        values["peer"] = {"inputs_per_second": round(statistics.median(theirs), 1), "rounds": [round(t, 1) for t in theirs]}
    return values


def same_vectors(peer: Peer, ours: np.ndarray, settings: Settings) -> Values:
    """Compares a few vectors of both systems."""
    file = settings.work / "peer.npy"
    peer.ask(f"vectors {file}")
    return summary(ours, np.load(file)[: len(ours)])


def run(settings: Settings, lexivec: Lexivec, preparation: Preparation, stage: Stage) -> None:
    """Runs all steps."""
    model = fastest_form(settings)

    def beside() -> Values:
        children.require_modules("torch", "sentence_transformers")
        return take_turns(settings, lexivec, preparation, model, with_peer=True)

    def alone() -> Values:
        return take_turns(settings, lexivec, preparation, model, with_peer=False)

    def fp8() -> Values:
        return take_turns(settings, lexivec, preparation, Model("fp8"), with_peer=False)

    stage.step("beside sentence-transformers", 180, beside)
    stage.step("alone", 80, alone)
    stage.step("fp8 alone", 80, fp8)
