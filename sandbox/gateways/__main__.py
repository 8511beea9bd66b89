"""`python -m sandbox.gateways --state DIR`: the stand-in gateways, until they are stopped."""

import argparse
import sys
from pathlib import Path

from sandbox import moved_time
from sandbox.gateways.behaviour import PREFIXES, by_prefix, load
from sandbox.gateways.endpoint import Latency
from sandbox.gateways.server import Settings, run


def _latency(text: str) -> Latency:
    median, _, p99 = text.partition(":")
    latency = Latency(float(median), float(p99 or median))
    if not 0 < latency.median_ms <= latency.p99_ms:
        raise argparse.ArgumentTypeError("give MEDIAN:P99 in ms, the median being the smaller")
    return latency


_EXAMPLE = "example: python -m sandbox.gateways --state .sandbox/gateways --fcm-port 9443 --apns-port 9444"


def _prefixes() -> str:
    rows = (f"  {row.name + '-':<14} FCM {row.fcm}; APNs {row.apns}" for row in PREFIXES)
    return "\n".join(("tokens and their answers ([slow-MS-][sandbox-]NAME-[once-][Ns-]anything):", *rows, "", _EXAMPLE))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.gateways",
        description="Stand-ins for FCM (with OAuth) and APNs, on 127.0.0.1 only.",
        epilog=_prefixes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--state", type=Path, required=True, help="folder for the keys, and for gateways.json, which has the addresses"
    )
    for name in ("fcm", "apns", "apns-sandbox", "control"):
        parser.add_argument(f"--{name}-port", type=int, default=0, help="default: any free one")
    parser.add_argument(
        "--behaviour",
        metavar="MODULE:FUNCTION",
        help="a function that decides the answers; default: the prefixes below",
    )
    parser.add_argument(
        "--latency-ms",
        type=_latency,
        metavar="MEDIAN:P99",
        help="how long answers take, in ms, log-normal; default: no time",
    )
    parser.add_argument(
        "--oauth-lifetime-s", type=int, default=3600, help="how long an access token is valid; default: 3600"
    )
    parser.add_argument("--stop-with-stdin", action="store_true", help="stop when standard input ends")
    return parser


def main() -> None:
    """Reads the command line and serves."""
    arguments = _parser().parse_args()
    moved_time.follow()
    try:
        behave = load(arguments.behaviour) if arguments.behaviour else by_prefix
        run(
            Settings(
                state=arguments.state,
                fcm_port=arguments.fcm_port,
                apns_port=arguments.apns_port,
                apns_sandbox_port=arguments.apns_sandbox_port,
                control_port=arguments.control_port,
                behave=behave,
                latency=arguments.latency_ms,
                oauth_lifetime_s=arguments.oauth_lifetime_s,
                stop_with_stdin=arguments.stop_with_stdin,
            )
        )
    except (OSError, TypeError, ValueError) as error:
        sys.exit(f"the stand-ins cannot start: {error}")


if __name__ == "__main__":
    main()
