#!/usr/bin/env python3
"""Load for a server that speaks OpenAI's API: many users at once, each with one request after another, for a while.

    bench/serve_load.py --url http://127.0.0.1:8080/v1 [--streams 16] [--seconds 30] [--cancels 0.1] [--bad 0.1]

Prints the sum of decode tokens a second, the time to the first token, the time between pieces of a stream, and what went wrong, by
kind. The same seed asks the same questions. Needs nothing but Python; tests/e2e use it, too.

A stream's tokens are those its usage reports, shared out over the pieces in which its text came; only pieces that came within the
measured time count. So servers that send several tokens in a piece are compared fairly by tokens a second; their time between pieces is
longer, and so it is for who reads along."""

import argparse
import asyncio
import collections
import dataclasses
import json
import random
import sys
import time
import urllib.parse

ANSWER_SECONDS = 300  # an answer that takes longer is an error
LINE_BYTES = 1 << 20

SUBJECTS = "the old miller|a young fox|my sister|the captain|a quiet engineer|the river|our neighbour|the last train|a teacher|the moon".split("|")
VERBS = "found|remembered|carried|painted|followed|repaired|watched|lost|measured|described".split("|")
OBJECTS = "a small boat|the letter|an empty house|the long road|a broken clock|the garden|three coins|the map|a lantern|the song".split("|")
PLACES = "near the harbour|in the winter|after the storm|before sunrise|behind the hill|at the market|by the bridge|in a dream".split("|")


@dataclasses.dataclass(frozen=True)
class Mix:
    """What is asked: lengths in turn at random; shares of requests that are not ordinary streams."""
    prompt_words: tuple = (8, 40, 120, 250)
    answer_tokens: tuple = (16, 32, 64)
    cancels: float = 0.0  # left in mid-stream
    bad: float = 0.0  # not to be answered but with a 4xx
    whole: float = 0.0  # not streamed
    shared: float = 0.0  # begin with the same sentences as others


@dataclasses.dataclass
class Outcome:
    kind: str  # "done", "left" (as asked), "refused" (as asked), "error"
    fields: dict
    reason: str = ""  # of an error
    text: str = ""
    finish: str = ""
    tokens: float = 0  # of the answer, as usage says; else pieces
    asked: float = 0.0  # time.monotonic()
    pieces: list = dataclasses.field(default_factory=list)  # when each piece of text came


class Endpoint:
    def __init__(self, url, model="", key=""):
        parts = urllib.parse.urlsplit(url)
        assert parts.scheme == "http", "only http:// addresses"
        self.host, self.port, self.base = parts.hostname, parts.port or 80, parts.path.rstrip("/")
        self.model, self.key = model, key

    def request(self, path, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        return (f"POST {self.base}{path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Type: application/json\r\n{key}"
                f"Connection: close\r\nContent-Length: {len(data)}\r\n\r\n").encode() + data


async def read_head(reader):
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(lines[0].split()[1]), headers


async def body_pieces(reader, headers):
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0] or b"-", 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
    elif "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
    else:
        while piece := await reader.read(LINE_BYTES):
            yield piece


async def events(pieces):
    """The data of server-sent events, parsed; None for the last, [DONE]."""
    buffer = b""
    async for piece in pieces:
        buffer += piece
        *whole, buffer = buffer.replace(b"\r\n", b"\n").split(b"\n\n")
        for event in whole:
            for line in event.split(b"\n"):
                if line.startswith(b"data: [DONE]"):
                    yield None
                elif line.startswith(b"data:"):
                    yield json.loads(line[5:])


def take(outcome, reply):
    """One piece of a stream, or a whole answer."""
    if "error" in reply:
        raise ValueError(f"error in the stream: {reply['error'].get('type', reply['error'])}")
    for choice in reply.get("choices", []):
        text = choice.get("text") or (choice.get("delta") or choice.get("message") or {}).get("content") or ""
        if text:
            outcome.text += text
            outcome.pieces.append(time.monotonic())
        outcome.finish = choice.get("finish_reason") or outcome.finish
    outcome.tokens = (reply.get("usage") or {}).get("completion_tokens", 0) or outcome.tokens


async def read_answer(outcome, reader, leave_after):
    status, headers = await read_head(reader)
    if status != 200:
        body = b"".join([piece async for piece in body_pieces(reader, headers)])
        outcome.kind = "refused" if 400 <= status < 500 else "error"
        outcome.reason = f"status {status}"
        json.loads(body)  # an error has a body that clients understand
        return
    if "event-stream" not in headers.get("content-type", ""):
        take(outcome, json.loads(b"".join([piece async for piece in body_pieces(reader, headers)])))
        outcome.kind = "done"
        return
    async for event in events(body_pieces(reader, headers)):
        if event is None:
            outcome.kind = "done"
            continue
        take(outcome, event)
        if leave_after is not None and len(outcome.pieces) >= leave_after:
            outcome.kind = "left"
            return
    if outcome.kind != "done":
        raise EOFError("the stream ended before [DONE]")


async def ask(endpoint, path, body, leave_after=None):
    outcome = Outcome("error", body if isinstance(body, dict) else {}, asked=time.monotonic())
    writer = None
    try:
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=LINE_BYTES)
        writer.write(endpoint.request(path, body))
        await asyncio.wait_for(read_answer(outcome, reader, leave_after), ANSWER_SECONDS)
    except (OSError, EOFError, ValueError, KeyError, asyncio.TimeoutError) as error:
        outcome.kind, outcome.reason = "error", f"{type(error).__name__}: {error}"[:120]
    finally:
        if writer:
            # Some leave politely, some with a reset.
            writer.transport.abort() if outcome.kind == "left" and len(outcome.text) % 2 else writer.close()
    if not outcome.tokens:
        outcome.tokens = len(outcome.pieces)
    return outcome


def sentences(chooser, words):
    text = ""
    while text.count(" ") < words - 1:
        parts = [chooser.choice(list_) for list_ in (SUBJECTS, VERBS, OBJECTS, PLACES)]
        text += " ".join(parts).capitalize() + ". "
    return " ".join(text.split()[:words])


def ordinary(endpoint, chooser, mix):
    words = chooser.choice(mix.prompt_words)
    prompt = f"Story {chooser.randrange(10**6)}. "
    if chooser.random() < mix.shared:
        prompt = sentences(random.Random(1), words // 2) + " "
    prompt += sentences(chooser, max(1, words - prompt.count(" ")))
    fields = {"prompt": prompt, "max_tokens": chooser.choice(mix.answer_tokens), "temperature": 0, "stream": True,
              "stream_options": {"include_usage": True}}
    return {**fields, "model": endpoint.model} if endpoint.model else fields


def bad_one(endpoint, chooser, mix):
    good = ordinary(endpoint, chooser, mix)
    return chooser.choice([
        b"{", b"[1, 2]", json.dumps(good).encode()[:-20], b'{"prompt": "\xff"}',
        {**good, "max_tokens": "many"}, {**good, "temperature": "hot"}, {**good, "stop": 5}, {**good, "prompt": {"a": 1}},
        {**good, "prompt": "long " * 20000},
    ])


async def one_request(endpoint, chooser, mix):
    kind = chooser.random()
    if kind < mix.bad:
        outcome = await ask(endpoint, "/completions", bad_one(endpoint, chooser, mix))
        if outcome.kind == "done":
            outcome.kind, outcome.reason = "error", "a bad request was answered"
        return outcome
    fields = ordinary(endpoint, chooser, mix)
    leave_after = None
    if kind < mix.bad + mix.cancels:
        leave_after = chooser.randrange(0, fields["max_tokens"] // 2)
    elif kind < mix.bad + mix.cancels + mix.whole:
        fields = {name: value for name, value in fields.items() if not name.startswith("stream")}
    outcome = await ask(endpoint, "/completions", fields, leave_after)
    if outcome.kind == "refused":
        outcome.kind = "error"
    return outcome


async def load(endpoint, streams, seconds, mix, seed=1):
    """All outcomes of `streams` users who ask one request after another for so long; the last ones are heard to their end."""
    until = time.monotonic() + seconds
    outcomes = []

    async def user(number):
        chooser = random.Random(f"{seed}/{number}")
        while time.monotonic() < until:
            outcome = await one_request(endpoint, chooser, mix)
            outcomes.append(outcome)
            if outcome.kind == "error":
                await asyncio.sleep(0.1)  # a server that is gone is not asked a thousand times a second

    await asyncio.gather(*(user(number) for number in range(streams)))
    return outcomes


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def summary(outcomes, begin, end):
    within = [(o, [t for t in o.pieces if begin <= t <= end]) for o in outcomes]
    tokens = sum(o.tokens * len(pieces) / len(o.pieces) for o, pieces in within if pieces and o.fields.get("stream"))
    streams = [o for o in outcomes if o.fields.get("stream") and o.pieces and o.asked >= begin]
    first = [o.pieces[0] - o.asked for o in streams if o.pieces[0] <= end]
    between = [b - a for o, pieces in within for a, b in zip(pieces, pieces[1:])]
    return {"decode_tokens_per_second": tokens / (end - begin), "first_token_p50": percentile(first, 0.5),
            "first_token_p99": percentile(first, 0.99), "between_p50": percentile(between, 0.5), "between_p99": percentile(between, 0.99),
            "requests": len(outcomes), "kinds": dict(collections.Counter(o.kind for o in outcomes)),
            "errors": dict(collections.Counter(o.reason for o in outcomes if o.kind == "error"))}


def numbers(text):
    return tuple(int(part) for part in text.split(","))


def main():
    usual = Mix()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--model", default="", help="named in each request")
    parser.add_argument("--key", default="")
    parser.add_argument("--streams", type=int, default=16, help="users at once")
    parser.add_argument("--seconds", type=float, default=30, help="measured")
    parser.add_argument("--warm-up", type=float, default=3, help="seconds before")
    parser.add_argument("--prompt-words", type=numbers, default=usual.prompt_words, metavar="N,N")
    parser.add_argument("--answer-tokens", type=numbers, default=usual.answer_tokens, metavar="N,N")
    parser.add_argument("--cancels", type=float, default=0, help="share of streams that are left")
    parser.add_argument("--bad", type=float, default=0, help="share of bad requests")
    parser.add_argument("--whole", type=float, default=0, help="share of answers that are not streamed")
    parser.add_argument("--shared", type=float, default=0, help="share of prompts that begin like others")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    mix = Mix(options.prompt_words, options.answer_tokens, options.cancels, options.bad, options.whole, options.shared)
    endpoint = Endpoint(options.url, options.model, options.key)
    begin = time.monotonic() + options.warm_up
    outcomes = asyncio.run(load(endpoint, options.streams, options.warm_up + options.seconds, mix, options.seed))
    result = summary(outcomes, begin, begin + options.seconds)
    print(f"{options.streams} streams, {options.seconds:g} s: {result['decode_tokens_per_second']:.1f} decode tokens/s\n"
          f"first token: p50 {result['first_token_p50'] * 1e3:.0f} ms, p99 {result['first_token_p99'] * 1e3:.0f} ms\n"
          f"between pieces: p50 {result['between_p50'] * 1e3:.1f} ms, p99 {result['between_p99'] * 1e3:.1f} ms\n"
          f"requests: {result['requests']} {result['kinds']}")
    for reason, count in sorted(result["errors"].items()):
        print(f"error, {count} times: {reason}")
    return 1 if result["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
