"""What the approval pages cost: cold import, time of each page, weight of each page.

    python tests/bench/approval.py

Server time with moto's S3 and DynamoDB behind it, in one process: what the app adds, and moto's own time.
"""

import logging
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.approval_site import ANN, BOB, World, moto_server, new_request

RUNS = 20
_IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def import_s(module: str) -> float:
    """Seconds to import a module in a new process, the best of five; byte code is there, as in the artifact."""
    command = [sys.executable, "-c", _IMPORT.format(module)]
    return min(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(5))


def main() -> None:
    """Print a table."""
    logging.disable(logging.INFO)
    print(f"cold import of approval.app: {import_s('approval.app'):.2f} s, of which boto3 {import_s('boto3'):.2f} s")
    with moto_server() as address:
        world = World(address)
        ann, bob = world.browser(ANN), world.browser(BOB)
        id_ = new_request(ann, world)
        draft = ann.post("/requests").location
        static = sum(len(ann.get(f"/static/{name}").body.encode()) for name in ("style.css", "script.js"))
        print(f"style.css and script.js: {static:,} bytes, kept by the browser for a year\n")
        print("| page | median ms | html bytes | with stylesheet and script |\n|---|---|---|---|")
        pages = (("sign-in", "/sign-in"), ("list", "/requests"), ("form", draft), ("review", f"/requests/{id_}"))
        for name, path in (*pages, ("status (polled)", f"/requests/{id_}/status"), ("devices", "/devices")):
            browser = bob if name in ("review", "status (polled)") else ann
            answer = browser.get(path)
            took = []
            for _ in range(RUNS):
                began = time.perf_counter()
                answer = browser.get(path)
                took.append((time.perf_counter() - began) * 1000)
            size = len(answer.body.encode())
            print(f"| {name} | {statistics.median(took):.0f} | {size:,} | {size + static:,} |")


if __name__ == "__main__":
    main()
