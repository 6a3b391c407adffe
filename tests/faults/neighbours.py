"""A process with plugins installed that harm whatever shares a process with them; it does runs as the command does.

``python -m tests.faults.neighbours FOLDER`` installs them there, says which of them were left out, reads a JSON object
a line, and answers each with one.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.distributions import write_distribution

HARMS = {
    "threads": "torch.set_num_threads(3)",
    "dtype": "torch.set_default_dtype(torch.float64)",
    "gradients": "torch.set_grad_enabled(False)",
    "determinism": "torch.use_deterministic_algorithms(True)",
    "products": "torch.set_float32_matmul_precision('medium')",
    "flags": "torch.backends.cudnn.benchmark = True",
    "loss": "functional.cross_entropy = lambda *inputs, **more: inputs[0].float().mean()",
}
"""What the guard finds out."""
UNSEEN = {
    "constant": "kdbench.data.digits.SPLIT_SEED = 1",
    "cosine": "math.cos = lambda angle: 0.5",
    "images": "np.rint = np.floor",
    "environment": "os.environ['OMP_NUM_THREADS'] = os.environ['MKL_CBWR'] = '7'",
    "path": "sys.path.insert(0, os.path.dirname(__file__) + '/shadows')",
}
"""What it can't."""
DEATHS = {
    "exit": "sys.exit(0)",
    "gone": "os._exit(0)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "hang": "time.sleep(600)",
    "stubborn": "stay()",
}
IMPORTS = (
    "import math, os, signal, sys, time\nimport numpy as np\nimport torch\nimport kdbench, kdbench.data.digits\n"
    "from torch.nn import functional\n"
)
METHODS = '''
TRUE = functional.cross_entropy

def stay():
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass

def made(name, harm):
    @kdbench.method("bad-" + name, needs={{"guide": "teacher"}})
    def bad(batch, ctx):
        """Cross-entropy, and harm."""
        print("printed by bad-" + name)
        with open({pid!r}, "w") as file:
            file.write(str(os.getpid()))
        loss = TRUE(ctx.student(batch.images), batch.labels)
        if name != "killed" or sum(one.numel() for one in ctx.student.parameters()) > 20000:  # no trial of the method
            exec(harm, globals())
        return loss
    return bad

@kdbench.hookimpl
def kdbench_register_methods():
    return [made(name, harm) for name, harm in {harms!r}.items()]
'''


def install(folder: Path) -> None:
    """``bad``, whose methods do it while they train; and for each harm a plugin that does it when it is imported."""
    methods = METHODS.format(harms={**HARMS, **UNSEEN, **DEATHS}, pid=str(folder / "pid"))
    sources = {
        "bad": IMPORTS + methods,
        **{f"sets-{name}": IMPORTS + harm for name, harm in {**HARMS, **UNSEEN}.items()},
    }
    for name, source in sources.items():
        module = name.replace("-", "_")
        write_distribution(folder, name, {name: module})
        (folder / f"{module}.py").write_text(source + "\n")
    shadows = folder / "shadows"
    shadows.mkdir()
    (shadows / "filelock.py").write_text("raise RuntimeError('imported from a path that a plugin added')\n")


def summary(record: Any) -> dict[str, Any]:
    """What must be the same with and without neighbours."""
    hashes = record.hashes
    return {
        "run": record.run_id,
        "status": record.status,
        "error": record.error,
        "scores": [score.model_dump(mode="json") for score in record.scores],
        "networks": {name: one.sha256 for name, one in {**hashes.students, **hashes.networks}.items()},
        "plugins": record.provenance.plugins,
    }


def work(job: dict[str, Any]) -> dict[str, Any]:
    """One run, as ``kdbench.run`` takes it."""
    from kdbench.errors import KdbenchError
    from kdbench.running.runner import run

    try:
        return summary(run(**job))
    except KdbenchError as error:
        return {"mistake": str(error)}
    except KeyboardInterrupt:
        return {"interrupted": True}


def main() -> None:
    """Answer until there is no more to do."""
    folder = Path(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    install(folder)
    sys.path.insert(0, str(folder))
    from kdbench.plugin.loader import load_plugins
    from kdbench.running.isolated.server import prepare

    prepare()
    found = {failure.plugin: failure.error for failure in load_plugins().failures}
    print(json.dumps(found), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
