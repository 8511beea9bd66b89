"""How fast the stand-ins answer: `python -m tests.bench.standins [--seconds 4] [--gateway apns]`.

libcurl's multi interface, HTTP/2, 4 connections with up to 100 streams each. Both share the machine's cores; the
figure that matters is the stand-ins' CPU time per answer.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pycurl

from sandbox.gateways import Gateways
from tests.contract.standin_client import Client, access_token, provider_token

_CONNECTIONS = 4
_STREAMS = 100


def _setup(gateways: Gateways, gateway: str) -> Callable[[pycurl.Curl, int], None]:
    """A function that prepares a handle for its nth push."""
    if gateway == "fcm":
        project = msgspec.json.decode(gateways.fcm_service_account)["project_id"]
        url = f"{gateways.addresses.fcm}/v1/projects/{project}/messages:send"
        bearer = access_token(Client(gateways), gateways)
        shared = ["content-type: application/json", f"authorization: Bearer {bearer}"]

        def prepare(handle: pycurl.Curl, number: int) -> None:
            handle.setopt(pycurl.URL, url)
            handle.setopt(pycurl.HTTPHEADER, shared)
            message = {"token": f"token{number:09d}", "notification": {"title": "Hi", "body": "3 people joined"},
                       "data": {"run": "r", "arm": "a"}, "android": {"ttl": "86400s", "priority": "high"}}  # fmt: skip
            handle.setopt(pycurl.POSTFIELDS, msgspec.json.encode({"message": message}))

        return prepare
    bearer = provider_token(gateways)
    body = msgspec.json.encode({"aps": {"alert": {"title": "Hi", "body": "3 people joined"}}, "run": "r"})
    common = [f"authorization: bearer {bearer}", "apns-topic: com.example.app", "apns-push-type: alert",
              "apns-priority: 10", "apns-expiration: 0", "apns-collapse-id: day-2"]  # fmt: skip

    def prepare_apns(handle: pycurl.Curl, number: int) -> None:
        handle.setopt(pycurl.URL, f"{gateways.addresses.apns}/3/device/{number:064x}")
        handle.setopt(pycurl.HTTPHEADER, [*common, f"apns-id: 00000000-0000-4000-8000-{number:012x}"])
        handle.setopt(pycurl.POSTFIELDS, body)

    return prepare_apns


def _handle(gateways: Gateways) -> pycurl.Curl:
    handle = pycurl.Curl()
    handle.setopt(pycurl.CAINFO, gateways.addresses.ca_file)
    handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
    handle.setopt(pycurl.PIPEWAIT, 1)
    handle.setopt(pycurl.WRITEFUNCTION, len)
    return handle


def _drive(gateways: Gateways, gateway: str, seconds: float) -> tuple[int, int, float]:
    """Pushes for so long; (answers, of these 200, seconds)."""
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
    multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, _CONNECTIONS)
    multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, _STREAMS)
    prepare = _setup(gateways, gateway)
    handles = [_handle(gateways) for _ in range(_CONNECTIONS * _STREAMS)]
    number = answers = good = 0
    start = time.perf_counter()
    free = handles
    while True:
        open_ = time.perf_counter() - start < seconds
        for handle in free if open_ else ():
            number += 1
            prepare(handle, number)
            multi.add_handle(handle)
        free = []
        _, running = multi.perform()
        while True:
            left, done, failed = multi.info_read()
            for handle in (*done, *(item[0] for item in failed)):
                answers += 1
                good += handle.getinfo(pycurl.RESPONSE_CODE) == 200
                multi.remove_handle(handle)
                free.append(handle)
            if not left:
                break
        if not running and not free:
            return answers, good, time.perf_counter() - start
        if not free:
            multi.select(0.1)


def main() -> None:
    """Measures and prints one line a gateway."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--gateway", choices=("fcm", "apns"), action="append")
    parser.add_argument("--latency-ms", help="MEDIAN:P99")
    options = parser.parse_args()
    latency = tuple(float(part) for part in options.latency_ms.split(":")) if options.latency_ms else None
    for gateway in options.gateway or ("fcm", "apns"):
        with (
            tempfile.TemporaryDirectory() as folder,
            Gateways.start(Path(folder), latency_ms=(latency[0], latency[1]) if latency else None) as gateways,
        ):
            before = gateways.counts()
            answers, good, took_s = _drive(gateways, gateway, options.seconds)
            after = gateways.counts()
        figures = getattr(after, gateway)
        cpu_us = (after.process.cpu_s - before.process.cpu_s) / answers * 1e6
        print(
            f"{gateway}: {answers / took_s:,.0f} answers/s, {cpu_us:.1f} us of the stand-in's CPU each "
            f"({1e6 / cpu_us:,.0f}/s a core), {good:,} of {answers:,} were 200, {figures.connections} connections, "
            f"{figures.max_in_flight} at once, {after.process.max_rss_mb:.0f} MB"
        )


if __name__ == "__main__":
    main()
